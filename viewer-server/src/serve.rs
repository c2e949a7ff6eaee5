//! The running service: background tasks, the listener, and an end in order.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::net::TcpListener;

use crate::centre::Centre;
use crate::http;

/// Calls under way when the service stops may take so long.
const DRAIN: Duration = Duration::from_secs(10);

/// Serves until `centre.shutdown` is cancelled.
///
/// # Errors
/// If the address can't be listened on.
pub async fn serve(centre: Arc<Centre>, ui_dir: Option<PathBuf>) -> std::io::Result<()> {
    // A second recorder in one process is a test; it shares the first one's figures.
    let metrics = PrometheusBuilder::new().install_recorder().ok();
    let listener = TcpListener::bind(centre.settings.listen).await?;
    let address = listener.local_addr()?;
    let tasks = [
        tokio::spawn(Arc::clone(&centre).keep_deriving()),
        tokio::spawn(Arc::clone(&centre).keep_supervising()),
        tokio::spawn(Arc::clone(&centre).keep_removing_abandoned_uploads()),
        tokio::spawn(Arc::clone(&centre).keep_closing_days()),
        tokio::spawn(Arc::clone(&centre).keep_exporting()),
        tokio::spawn(Arc::clone(&centre).keep_retrieving()),
    ];
    tracing::info!(%address, "serving");
    let told = tokio::spawn(crate::service::tell(Arc::clone(&centre), address));
    let app = http::router(Arc::clone(&centre), ui_dir, metrics)
        .into_make_service_with_connect_info::<SocketAddr>();
    let stopped = Arc::clone(&centre);
    let served = axum::serve(listener, app).with_graceful_shutdown(async move {
        stopped.shutdown.cancelled().await;
        stopped.live.close_all();
    });
    let served = served.into_future();
    tokio::pin!(served);
    let result = tokio::select! {
        result = &mut served => result,
        () = async {
            centre.shutdown.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        } => {
            tracing::warn!("calls were still under way when the service stopped");
            Ok(())
        }
    };
    centre.shutdown.cancel();
    for task in tasks.into_iter().chain([told]) {
        // A task that panicked has logged it.
        let _ = task.await;
    }
    centre.db.close().await;
    tracing::info!("stopped");
    result
}
