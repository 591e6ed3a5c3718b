//! HOST (RFC 7151): virtual hosts, their greetings and users.

use test_support::ftp::Ftp;
use test_support::gateway::{Builder, Gateway, PASSWORD, USER};

/// Users u and v. `a` has a greeting of its own and admits v only, `b` admits both.
fn two_hosts() -> Builder {
    Gateway::builder()
        .user("v", "q", "{ \"/\" = \"main\" }")
        .with(
            "greeting = \"general\"\n[hosts.\"a.example.com\"]\ngreeting = \"this is a\"\nusers = [\"v\"]\n\
             [hosts.\"B.Example.com\"]\nusers = [\"u\", \"v\"]",
        )
}

#[tokio::test]
async fn a_host_is_chosen_before_the_login_and_greets() {
    let gateway = two_hosts().start().await;
    let mut ftp = Ftp::connect(gateway.address).await;
    for (line, code, text) in [
        ("HOST a.example.com", 220, "this is a"),
        ("host A.EXAMPLE.COM.", 220, "this is a"),
        ("HOST b.example.com", 220, "general"),
        // The address that the client reached means no host.
        ("HOST 127.0.0.1", 220, "general"),
        ("HOST c.example.com", 504, "There is no such host here"),
        ("HOST 127.0.0.2", 504, "There is no such host here"),
        ("HOST [::1]", 504, "There is no such host here"),
        ("HOST", 501, "Syntax: HOST name"),
        ("HOST a.example.com:21", 501, "Syntax: HOST name"),
        ("HOST a_b", 501, "Syntax: HOST name"),
        ("HOST ::1", 501, "Syntax: HOST name"),
    ] {
        let reply = ftp.expect(line, code).await;
        assert_eq!(reply.text(), text, "{line}");
        ftp.in_step().await;
    }
    ftp.expect("USER u", 331).await;
    ftp.expect("HOST b.example.com", 503).await;
    ftp.expect(&format!("PASS {PASSWORD}"), 230).await;
    ftp.expect("HOST b.example.com", 503).await;
    ftp.in_step().await;
    gateway.stop().await;
}

#[tokio::test]
async fn users_of_other_hosts_are_refused_as_for_a_wrong_password() {
    let gateway = two_hosts().start().await;
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.expect("HOST a.example.com", 220).await;
    ftp.expect("USER v", 331).await;
    let wrong = ftp.expect("PASS wrong", 530).await;
    ftp.expect("USER u", 331).await;
    let stranger = ftp.expect(&format!("PASS {PASSWORD}"), 530).await;
    assert_eq!(wrong, stranger);
    // The host stays after a new USER, and is dropped by REIN.
    ftp.login("v", "q").await;
    ftp.expect("USER u", 331).await;
    ftp.expect(&format!("PASS {PASSWORD}"), 530).await;
    ftp.expect("REIN", 220).await;
    ftp.login(USER, PASSWORD).await;
    ftp.expect("REIN", 220).await;
    // An unknown host leaves the former one.
    ftp.expect("HOST a.example.com", 220).await;
    ftp.expect("HOST c.example.com", 504).await;
    ftp.expect("USER u", 331).await;
    ftp.expect(&format!("PASS {PASSWORD}"), 530).await;
    ftp.expect("HOST b.example.com", 220).await;
    ftp.login(USER, PASSWORD).await;
    gateway.stop().await;
}

#[tokio::test]
async fn host_is_offered_only_with_virtual_hosts() {
    let with = two_hosts().start().await;
    let without = Gateway::start().await;
    for (gateway, offered) in [(&with, true), (&without, false)] {
        let mut ftp = Ftp::connect(gateway.address).await;
        let feat = ftp.expect("FEAT", 211).await;
        assert_eq!(feat.lines.iter().any(|line| line.trim() == "HOST"), offered);
        let help = ftp.expect("HELP", 214).await.lines.join(" ");
        assert_eq!(help.split(' ').any(|verb| verb == "HOST"), offered);
        ftp.expect("HELP HOST", if offered { 214 } else { 502 })
            .await;
        ftp.expect("HOST a.example.com", if offered { 220 } else { 502 })
            .await;
        ftp.in_step().await;
    }
    with.stop().await;
    without.stop().await;
}
