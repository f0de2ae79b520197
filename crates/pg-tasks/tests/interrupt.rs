//! Signals to a process of its own: this test binary, started again to run only [`child`].
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use pg_tasks::interrupt::Interrupt;

/// In the child: installs the handler twice, reports each state on stderr, and waits to be ended. Elsewhere: nothing.
#[test]
fn child() {
    if std::env::var_os("PG_INTERRUPT_CHILD").is_none() {
        return;
    }
    let interrupt = Interrupt::install().unwrap();
    let again = Interrupt::install().unwrap();
    let report = |state: &str| writeln!(std::io::stderr(), "{state}").unwrap();
    report(if interrupt.requested() || again.requested() { "requested too early" } else { "running" });
    while !interrupt.requested() {
        thread::yield_now();
    }
    report(if again.requested() { "requested" } else { "two flags" });
    loop {
        thread::park();
    }
}

/// As a shell starts the background jobs of a script.
#[test]
fn an_ignored_signal_stays_ignored() {
    let line = format!(
        "trap '' INT; PG_INTERRUPT_CHILD=1 exec '{}' --exact child --nocapture",
        std::env::current_exe().unwrap().display()
    );
    let mut child =
        Command::new("sh").args(["-c", &line]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "running"), "it goes on without a handler");
    // A handler would end the process at the second.
    interrupt(&child);
    interrupt(&child);
    thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert_eq!(lines.next(), None);
}

fn interrupt(child: &Child) {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Whoever runs the tests may ignore the signal, and a process inherits that.
#[allow(unsafe_code, reason = "what happens between fork and exec")]
fn hears_interrupts(command: &mut Command) -> &mut Command {
    // SAFETY: `signal` may be called between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGINT, libc::SIG_DFL);
            Ok(())
        })
    }
}

#[test]
fn the_first_signal_sets_the_flag_and_the_second_ends_the_process() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]).env("PG_INTERRUPT_CHILD", "1");
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = hears_interrupts(&mut command).spawn().unwrap();
    let mut states = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(states.next().as_deref(), Some("running"));
    interrupt(&child);
    assert_eq!(states.next().as_deref(), Some("requested"));
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
