//! Barcode scanners on a serial line.

use std::time::Duration;

use site_config::recorder::SerialInput;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio_serial::SerialPortBuilderExt as _;

use super::{Inputs, MOST_SCAN_BYTES};
use crate::backoff::Backoff;

/// A scanner without a suffix is done when it is silent for so long.
const PAUSE: Duration = Duration::from_millis(250);

/// Reads until shutdown; opens the line again when the scanner was unplugged.
pub(super) async fn run(inputs: Inputs, settings: SerialInput) {
    let mut backoff = Backoff::default();
    loop {
        let device = settings.device.display().to_string();
        let opened = tokio_serial::new(device.clone(), settings.baud).open_native_async();
        let error = match opened {
            Ok(line) => {
                tracing::info!(device, "scanner is open");
                backoff.reset();
                tokio::select! {
                    error = read_codes(&inputs, &settings, line) => error,
                    () = inputs.shutdown.cancelled() => return,
                }
            }
            Err(error) => error.into(),
        };
        tracing::warn!(device, %error, "scanner is away");
        tokio::select! {
            () = tokio::time::sleep(backoff.after_failure(rand::random())) => {}
            () = inputs.shutdown.cancelled() => return,
        }
    }
}

async fn read_codes(
    inputs: &Inputs,
    settings: &SerialInput,
    mut line: impl AsyncRead + Unpin,
) -> std::io::Error {
    let mut codes = Codes::default();
    let mut buffer = [0; 256];
    loop {
        let read = match tokio::time::timeout(PAUSE, line.read(&mut buffer)).await {
            Ok(Ok(0)) => return std::io::ErrorKind::UnexpectedEof.into(),
            Ok(Ok(count)) => codes.take(&buffer[..count]),
            Ok(Err(error)) => return error,
            Err(_) => codes.pause().into_iter().collect(),
        };
        for code in read {
            inputs.store_scan("serial", &settings.counter, &code).await;
        }
    }
}

/// Cuts bytes of a scanner into codes.
#[derive(Debug, Default)]
struct Codes {
    bytes: Vec<u8>,
}

impl Codes {
    fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut codes = Vec::new();
        for byte in bytes {
            match byte {
                b'\r' | b'\n' | 0x02 | 0x03 => codes.extend(self.pause()),
                byte if self.bytes.len() < MOST_SCAN_BYTES => self.bytes.push(*byte),
                _ => {}
            }
        }
        codes
    }

    /// What was read so far is a code, if it is anything.
    fn pause(&mut self) -> Option<String> {
        let bytes = std::mem::take(&mut self.bytes);
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Index;
    use archive::time::SystemClock;
    use archive::uplink::Fact;
    use std::io::Write as _;
    use std::os::fd::FromRawFd as _;
    use std::sync::Arc;

    #[test]
    fn cuts_codes_at_any_suffix_and_keeps_halves() {
        let mut codes = Codes::default();
        assert_eq!(codes.take(b"abc\r\nde"), ["abc"]);
        assert_eq!(codes.take(b"f\n\n\x02x\x03"), ["def", "x"]);
        assert_eq!(codes.pause(), None);
        codes.take(b"no suffix ");
        assert_eq!(codes.pause().as_deref(), Some("no suffix"));
    }

    #[allow(unsafe_code)]
    fn open_pty() -> (std::fs::File, std::fs::File, String) {
        let (mut master, mut slave) = (0, 0);
        let mut name = [0u8; 128];
        // SAFETY: all pointers are valid for the call; the name is shorter than its buffer.
        let result = unsafe {
            libc::openpty(
                &raw mut master,
                &raw mut slave,
                name.as_mut_ptr().cast(),
                std::ptr::null(),
                std::ptr::null(),
            )
        };
        assert_eq!(result, 0);
        let end = name.iter().position(|b| *b == 0).unwrap();
        let name = String::from_utf8(name[..end].to_vec()).unwrap();
        // SAFETY: both descriptors were just opened and belong to nobody else.
        let files = unsafe {
            (
                std::fs::File::from_raw_fd(master),
                std::fs::File::from_raw_fd(slave),
            )
        };
        (files.0, files.1, name)
    }

    #[tokio::test]
    async fn scan_on_a_pty_becomes_a_stored_fact() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::open(&dir.path().join("recorder.db")).await.unwrap();
        let (mut master, _slave, name) = open_pty();
        let inputs = Inputs {
            index: index.clone(),
            journal: crate::inputs::EventJournal::new(crate::record::Volume::create(dir.path()).unwrap()),
            clock: Arc::new(SystemClock),
            shutdown: Default::default(),
        };
        let settings = SerialInput {
            device: name.into(),
            baud: 9600,
            counter: "q01".parse().unwrap(),
        };
        let mut changes = index.subscribe();
        let task = tokio::spawn(run(inputs.clone(), settings));
        master.write_all(b"]C0000.00.17.H26-180615-0001\r").unwrap();
        tokio::time::timeout(Duration::from_secs(10), changes.changed())
            .await
            .unwrap()
            .unwrap();
        let (_, facts) = index.facts_after(0).await.unwrap().unwrap();
        match facts.as_slice() {
            [Fact::Event { event, .. }] => {
                assert_eq!(event["data"]["dossier"], "000.00.17.H26-180615-0001");
                assert_eq!(event["data"]["symbology"], "code128");
                assert_eq!(event["subject"], "q01");
            }
            other => panic!("{other:?}"),
        }
        inputs.shutdown.cancel();
        task.await.unwrap();
    }
}
