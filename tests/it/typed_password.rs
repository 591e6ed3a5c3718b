//! `hash-password` at a terminal: a pseudo-terminal whose other end is read here.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::io::unix::AsyncFd;
use tokio::process::Child;

use s3ftpd::auth::PasswordHash;
use test_support::launcher::command;
use test_support::within;

/// The process at the terminal, and the other end of it.
struct Typist {
    child: Child,
    terminal: AsyncFd<File>,
    /// Keeps the terminal after the end of the process.
    _slave: OwnedFd,
    shown: String,
}

impl Typist {
    fn start() -> Typist {
        let pty = openpty(None, None).unwrap();
        fcntl(&pty.master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let mut command = command(&["hash-password"]);
        command.stdin(Stdio::from(pty.slave.try_clone().unwrap()));
        command.stderr(Stdio::from(pty.slave.try_clone().unwrap()));
        #[expect(
            deprecated,
            reason = "its successor is unsafe; a file keeps its descriptor"
        )]
        let terminal = AsyncFd::new(File::from(pty.master)).unwrap();
        Typist {
            child: command.spawn().unwrap(),
            terminal,
            _slave: pty.slave,
            shown: String::new(),
        }
    }

    /// Waits until the terminal shows this text, anew.
    async fn shows(&mut self, text: &str) {
        let begin = self.shown.len();
        within(text, async {
            while !self.shown[begin..].contains(text) {
                let mut bytes = [0; 256];
                let mut ready = self.terminal.readable().await.unwrap();
                let read = ready.try_io(|terminal| terminal.get_ref().read(&mut bytes));
                if let Ok(length) = read {
                    let shown = std::str::from_utf8(&bytes[..length.unwrap()]);
                    self.shown += shown.unwrap();
                }
            }
        })
        .await;
    }

    fn types(&mut self, text: &str) {
        self.terminal.get_ref().write_all(text.as_bytes()).unwrap();
    }

    fn is_hiding(&self) -> bool {
        let settings = tcgetattr(self.terminal.get_ref().as_fd()).unwrap();
        !settings.local_flags.contains(LocalFlags::ECHO)
    }

    /// The exit code, what standard output was, and whether the terminal still hides.
    async fn ends(mut self) -> (Option<i32>, String, bool) {
        let child = &mut self.child;
        let status = within("the end", child.wait()).await.unwrap();
        let mut out = String::new();
        let mut stdout = child.stdout.take().unwrap();
        within("the output", stdout.read_to_string(&mut out))
            .await
            .unwrap();
        (status.code(), out, self.is_hiding())
    }
}

#[tokio::test]
async fn a_typed_password_does_not_show_and_is_asked_for_twice() {
    let mut typist = Typist::start();
    typist.shows("Password: ").await;
    assert!(typist.is_hiding());
    typist.types("pass word ü\n");
    typist.shows("The same again: ").await;
    typist.types("pass word ü\n");
    typist.shows("\n").await;
    assert!(!typist.shown.contains("pass word"), "{:?}", typist.shown);
    let (code, hash, hiding) = typist.ends().await;
    assert_eq!((code, hiding), (Some(0), false));
    let hash = PasswordHash::parse(&hash.trim_end().into()).unwrap();
    assert!(hash.verify(&"pass word ü".into()));
}

#[tokio::test]
async fn two_passwords_that_differ_are_an_error() {
    let mut typist = Typist::start();
    typist.shows("Password: ").await;
    typist.types("one\n");
    typist.shows("The same again: ").await;
    typist.types("two\n");
    typist.shows("the two passwords differ").await;
    assert_eq!(typist.ends().await, (Some(2), String::new(), false));
}

#[tokio::test]
async fn a_signal_leaves_a_terminal_that_shows_what_is_typed() {
    let mut typist = Typist::start();
    typist.shows("Password: ").await;
    assert!(typist.is_hiding());
    let process = Pid::from_raw(typist.child.id().unwrap().try_into().unwrap());
    kill(process, Signal::SIGTERM).unwrap();
    assert_eq!(typist.ends().await, (Some(1), String::new(), false));
}
