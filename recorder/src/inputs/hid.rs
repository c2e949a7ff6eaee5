//! Barcode scanners that act as a keyboard. Grabbed, so that no other program gets what they type.

use evdev::{Device, EventSummary, KeyCode};
use site_config::recorder::HidInput;

use super::{Inputs, MOST_SCAN_BYTES};
use crate::backoff::Backoff;

/// Reads until shutdown; opens the device again when the scanner was unplugged.
pub(super) async fn run(inputs: Inputs, settings: HidInput) {
    let mut backoff = Backoff::default();
    loop {
        let device = settings.device.display().to_string();
        let opened = Device::open(&settings.device).and_then(|mut device| {
            device.grab()?;
            device.into_event_stream()
        });
        let error = match opened {
            Ok(stream) => {
                tracing::info!(device, "scanner is grabbed");
                backoff.reset();
                tokio::select! {
                    error = read_codes(&inputs, &settings, stream) => error,
                    () = inputs.shutdown.cancelled() => return,
                }
            }
            Err(error) => error,
        };
        tracing::warn!(device, %error, "scanner is away");
        tokio::select! {
            () = tokio::time::sleep(backoff.after_failure(rand::random())) => {}
            () = inputs.shutdown.cancelled() => return,
        }
    }
}

async fn read_codes(inputs: &Inputs, settings: &HidInput, mut stream: evdev::EventStream) -> std::io::Error {
    let mut keyboard = Keyboard::default();
    loop {
        let event = match stream.next_event().await {
            Ok(event) => event,
            Err(error) => return error,
        };
        if let EventSummary::Key(_, key, value) = event.destructure()
            && let Some(code) = keyboard.key(key, value)
        {
            inputs.store_scan("hid", &settings.counter, &code).await;
        }
    }
}

/// A US keyboard, as scanners come from the factory.
#[derive(Debug, Default)]
struct Keyboard {
    text: String,
    is_shifted: bool,
}

impl Keyboard {
    /// Takes a key; `value` is 1 when it goes down. Gives the code when Enter or Tab ends it.
    fn key(&mut self, key: KeyCode, value: i32) -> Option<String> {
        if matches!(key, KeyCode::KEY_LEFTSHIFT | KeyCode::KEY_RIGHTSHIFT) {
            self.is_shifted = value != 0;
            return None;
        }
        if value != 1 {
            return None;
        }
        if matches!(key, KeyCode::KEY_ENTER | KeyCode::KEY_KPENTER | KeyCode::KEY_TAB) {
            let text = std::mem::take(&mut self.text).trim().to_owned();
            return (!text.is_empty()).then_some(text);
        }
        if self.text.len() < MOST_SCAN_BYTES
            && let Some((plain, shifted)) = signs(key)
        {
            self.text.push(if self.is_shifted { shifted } else { plain });
        }
        None
    }
}

fn signs(key: KeyCode) -> Option<(char, char)> {
    // Rows of keys have consecutive codes (linux/input-event-codes.h).
    const ROWS: [(KeyCode, &str, &str); 4] = [
        (KeyCode::KEY_1, "1234567890-=", "!@#$%^&*()_+"),
        (KeyCode::KEY_Q, "qwertyuiop[]", "QWERTYUIOP{}"),
        (KeyCode::KEY_A, "asdfghjkl;'`", "ASDFGHJKL:\"~"),
        (KeyCode::KEY_BACKSLASH, "\\zxcvbnm,./", "|ZXCVBNM<>?"),
    ];
    match key {
        KeyCode::KEY_SPACE => return Some((' ', ' ')),
        KeyCode::KEY_KPMINUS => return Some(('-', '-')),
        KeyCode::KEY_KPDOT => return Some(('.', '.')),
        _ => {}
    }
    if let Some(digit) = keypad_digit(key) {
        return Some((digit, digit));
    }
    ROWS.iter().find_map(|(first, plain, shifted)| {
        let place = usize::from(key.code().checked_sub(first.code())?);
        Some((plain.chars().nth(place)?, shifted.chars().nth(place)?))
    })
}

fn keypad_digit(key: KeyCode) -> Option<char> {
    const KEYPAD: [KeyCode; 10] = [
        KeyCode::KEY_KP0,
        KeyCode::KEY_KP1,
        KeyCode::KEY_KP2,
        KeyCode::KEY_KP3,
        KeyCode::KEY_KP4,
        KeyCode::KEY_KP5,
        KeyCode::KEY_KP6,
        KeyCode::KEY_KP7,
        KeyCode::KEY_KP8,
        KeyCode::KEY_KP9,
    ];
    let place = KEYPAD.iter().position(|k| *k == key)?;
    char::from_digit(place as u32, 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_a_dossier_code() {
        let mut keyboard = Keyboard::default();
        let mut press = |key, value| keyboard.key(key, value);
        let keys = [
            (KeyCode::KEY_0, 1),
            (KeyCode::KEY_0, 0),
            (KeyCode::KEY_DOT, 1),
            (KeyCode::KEY_LEFTSHIFT, 1),
            (KeyCode::KEY_H, 1),
            (KeyCode::KEY_LEFTSHIFT, 0),
            (KeyCode::KEY_2, 1),
            (KeyCode::KEY_2, 2),
            (KeyCode::KEY_KP6, 1),
            (KeyCode::KEY_MINUS, 1),
            (KeyCode::KEY_Z, 1),
            (KeyCode::KEY_SLASH, 1),
        ];
        for (key, value) in keys {
            assert_eq!(press(key, value), None);
        }
        assert_eq!(press(KeyCode::KEY_ENTER, 1).as_deref(), Some("0.H26-z/"));
        assert_eq!(press(KeyCode::KEY_ENTER, 1), None);
    }
}
