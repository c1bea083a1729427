//! Calling the person from elsewhere, and the clipboard: through the desktop where this runs on one, else through the terminal,
//! which may be on another machine.

use std::env;
use std::path::Path;

use data_encoding::BASE64;

/// The longest text that goes into the clipboard through the terminal, in bytes: terminals cut, or refuse, what is longer.
const MOST_COPIED: usize = 74_994;

/// How the person is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Desktop {
    /// Through the session's D-Bus.
    Bus,
    /// By the terminal: OSC 777, which those built on VTE know.
    Vte,
    /// By the terminal: OSC 9, which most others know, and the rest pass over.
    Terminal,
}

impl Desktop {
    /// What there is here. Over SSH the desktop of this machine is nobody's.
    pub(crate) fn find() -> Self {
        let set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        let bus = set("DBUS_SESSION_BUS_ADDRESS")
            || env::var_os("XDG_RUNTIME_DIR").is_some_and(|directory| Path::new(&directory).join("bus").exists());
        match () {
            () if bus && !set("SSH_CONNECTION") && !set("SSH_TTY") => Self::Bus,
            () if set("VTE_VERSION") => Self::Vte,
            () => Self::Terminal,
        }
    }

    /// Shows a notification; gives what the terminal is to be sent for it. Texts are harmless already.
    pub(crate) fn notify(self, title: &str, text: &str) -> Option<String> {
        match self {
            Self::Bus => {
                let mut notification = notify_rust::Notification::new();
                notification.appname("Knothole").summary(title).body(&escaped(text));
                // A desktop that does not answer is not waited for, and one that refuses is no error.
                tokio::task::spawn_blocking(move || drop(notification.show()));
                None
            }
            Self::Vte => Some(format!("\x1b]777;notify;{};{text}\x07", title.replace(';', ","))),
            Self::Terminal if text.is_empty() => Some(format!("\x1b]9;{title}\x07")),
            Self::Terminal => Some(format!("\x1b]9;{title}: {text}\x07")),
        }
    }
}

/// Desktops read a little HTML in the body.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// What puts a text into the clipboard of the terminal (OSC 52), which also works over SSH; nothing where it is too long.
pub(crate) fn copy(text: &str) -> Option<String> {
    (text.len() <= MOST_COPIED).then(|| format!("\x1b]52;c;{}\x07", BASE64.encode(text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_terminal_is_sent_ends_where_it_should() {
        assert_eq!(Desktop::Vte.notify("a;b", "c").unwrap(), "\x1b]777;notify;a,b;c\x07");
        assert_eq!(Desktop::Terminal.notify("bob", "").unwrap(), "\x1b]9;bob\x07");
        assert_eq!(copy("hi").unwrap(), "\x1b]52;c;aGk=\x07");
        assert_eq!(copy(&"x".repeat(MOST_COPIED + 1)), None);
    }
}
