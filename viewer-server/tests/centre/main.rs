//! The centre through its HTTP service, on SQLite and, if `TEST_POSTGRES_URL` names a server, on PostgreSQL.
#![allow(clippy::unwrap_used)]

mod chain;
mod clock;
mod days;
mod edge;
mod events;
mod exports;
mod fetches;
mod health;
mod holds;
mod orders;
mod people;
mod playback;
mod problems;
mod sealed;
mod search;
mod stage;
mod supervision;

/// Makes a test on each database of functions that take a [`stage::Stage`].
macro_rules! on_each_database {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let stage = $crate::stage::Stage::on_sqlite().await;
                super::$name(&stage).await;
                stage.end().await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let Some(stage) = $crate::stage::Stage::on_postgres().await else { return };
                super::$name(&stage).await;
                stage.end().await;
            })*
        }
    };
}
pub(crate) use on_each_database;
