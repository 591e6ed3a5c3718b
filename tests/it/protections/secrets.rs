//! SITE is an allow-list, and no secret is shown.

use test_support::gateway::Gateway;
use test_support::process::Process;

#[tokio::test]
async fn site_is_an_allow_list() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    for line in [
        "SITE EXEC id",
        "SITE EXEC %p%p%p",
        "SITE CPFR /etc/passwd",
        "SITE CPTO x",
        "SITE SYMLINK a b",
        "SITE CHOWN 0 x",
        "SITE INDEX x",
        "SITE UMASK 0",
        "SITE IDLE 100000",
        "SITE GROUP x",
        "SITE PSWD a b",
        "SITE ADDUSER x y",
        "SITE HELPX",
        "SITE .HELP",
    ] {
        ftp.expect(line, 502).await;
        ftp.in_step().await;
    }
    ftp.expect("SITE", 501).await;
    let help = ftp.expect("SITE HELP", 214).await;
    assert_eq!(help.lines[1].trim(), "CHMOD HELP");
    assert!(gateway.store.requests().is_empty());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_a_log_or_a_reply() {
    let hash = bcrypt::hash("right-secret", 4).unwrap();
    let settings = format!(
        "[login_failures]\ndelay = 0\n[users.s]\npassword = '{hash}'\nmounts = {{ \"/\" = \"main\" }}"
    );
    // Not at that level for all crates: what the SDK traces is not the server's.
    let mut process = Process::start_logging("s3ftpd=trace,info", &settings).await;
    let mut ftp = test_support::ftp::Ftp::connect(process.address).await;
    for line in [
        "HELP not-known",
        "AUTH not-known",
        "OPTS not-known",
        "HOST not-known",
        "SITE not-known",
        "TYPE not-known",
        "USER s",
        "PASS wrong-secret",
        "PASS out-of-turn-secret",
        "USER s",
        "pass right-secret",
        "PASS again-secret",
        "ACCT account-secret",
        "PAS typo-secret",
        "PASSright-secret",
        "SITE PSWD old-secret new-secret",
        "HELP PASS",
        "HELP not-known",
        "SITE HELP not-known",
        "STAT",
        "REIN",
        "USER s",
    ] {
        ftp.command(line).await;
    }
    ftp.send_raw(b"PASS \xff\xfebytes-secret\r\n").await;
    ftp.reply().await;
    ftp.expect("USER s", 331).await;
    ftp.expect("PASS right-secret", 230).await;
    assert_eq!(ftp.store("file", b"bytes").await.code, 226);
    ftp.expect("QUIT", 221).await;
    let said = ftp.transcript().to_owned();
    let (key, secret) = process.store.credentials();
    let (key, secret) = (key.to_owned(), secret.to_owned());
    let log = process.stop().await;
    assert!(
        log.contains("\"event\":\"login\"") && log.contains("\"event\":\"login_refused\""),
        "{log}"
    );
    for shown in [&secret, &key, &hash, "-secret"] {
        assert!(!log.contains(shown), "{shown} is in the log:\n{log}");
    }
    let replies = said.lines().filter(|line| line.starts_with("S:"));
    for reply in replies {
        // Nor anything that might be one: input that is not understood.
        for sent in ["-secret", "not-known", "NOT-KNOWN"] {
            assert!(!reply.contains(sent), "{reply}");
        }
    }
}
