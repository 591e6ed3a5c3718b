//! Logins × cause: the operator learns the cause, the client gets one reply for most of them.

use std::sync::Arc;

use s3ftpd::events::{Cause, Class, Event, Kind, Level};

use test_support::ftp::{Ftp, Reply};
use test_support::gateway::{Gateway, PASSWORD, USER};
use test_support::tls::Pki;

/// The one event of a refused login, which must agree with its reply.
fn one_refused(gateway: &Gateway, reply: &Reply, cause: Cause, case: &str) -> Arc<Event> {
    let events = gateway.events.of(Kind::LoginRefused);
    assert_eq!(events.len(), 1, "{case}: {reply:?}\n{events:#?}");
    gateway.events.drain();
    let event = events[0].clone();
    let case = format!("{case}: {reply:?}\n{event:#?}");
    assert_eq!(event.cause, Some(cause), "{case}");
    assert_eq!(event.code, Some(reply.code), "{case}");
    assert_eq!(event.reason.as_deref(), Some(reply.text()), "{case}");
    // The cause is for the operator, if the credentials may be wrong.
    let disclosed = reply.text().contains(cause.name());
    assert!(!disclosed || cause == Cause::Certificate, "{case}");
    event
}

#[tokio::test]
async fn each_refused_login_is_one_event_with_its_cause() {
    let pki = Pki::new();
    let gateway = Gateway::builder()
        .with(&pki.section(""))
        .with(
            "[limits]\nlogin_attempts = 100\nsessions_per_user = 1\n\
             [login_failures]\nban_after = 100\nban_user_after = 3",
        )
        .user("secure", PASSWORD, "{ \"/\" = \"main\" }")
        .with("[users.secure]\ntls = { control = \"required\" }")
        .with("[hosts.\"ftp.example.org\"]\nusers = [\"secure\"]")
        .user("guessed", PASSWORD, "{ \"/\" = \"main\" }")
        .user("disabled", PASSWORD, "{ \"/\" = \"main\" }")
        .with("[users.disabled]\ndisabled = true")
        .user("expired", PASSWORD, "{ \"/\" = \"main\" }")
        .with("[users.expired]\nexpires = \"2020-01-01\"")
        .user("elsewhere", PASSWORD, "{ \"/\" = \"main\" }")
        .with("[users.elsewhere]\nnetworks = [\"192.0.2.0/24\", \"::1\"]")
        .start()
        .await;
    let mut ftp = Ftp::connect(gateway.address).await;
    let cases = [
        ("unknown", PASSWORD, Cause::UnknownUser),
        ("anonymous", PASSWORD, Cause::UnknownUser),
        (USER, "wrong", Cause::Password),
        ("secure", PASSWORD, Cause::Tls),
        ("disabled", PASSWORD, Cause::Expired),
        ("disabled", "wrong", Cause::Password),
        ("expired", PASSWORD, Cause::Expired),
        ("elsewhere", PASSWORD, Cause::Network),
        ("elsewhere", "wrong", Cause::Password),
    ];
    for (user, password, cause) in cases {
        gateway.events.drain();
        ftp.expect(&format!("USER {user}"), 331).await;
        let reply = ftp.expect(&format!("PASS {password}"), 530).await;
        let events = gateway.events.of(Kind::LoginRefused);
        assert_eq!(events.len(), 1, "{user}: {events:#?}");
        let event = &events[0];
        assert_eq!(event.cause, Some(cause), "{user}");
        assert_eq!(event.user(), Some(user));
        assert_eq!(event.code, Some(530), "{user}");
        assert_eq!(event.class, Some(Class::Permission), "{user}");
        assert_eq!(event.peer().unwrap(), ftp.local_addr(), "{user}");
        // The cause is for the operator.
        assert!(!reply.text().contains(cause.name()), "{reply:?}");
    }
    // Guessing leads to a ban, after which the right password is refused as a wrong one is.
    for _ in 0..3 {
        ftp.expect("USER guessed", 331).await;
        ftp.expect("PASS wrong", 530).await;
    }
    let ban = gateway.events.wait_for(Kind::Banned).await;
    assert_eq!(ban.user(), Some("guessed"));
    assert_eq!(ban.peer().unwrap().ip(), ftp.local_addr().ip());
    assert!(ban.seconds.unwrap() > 0.0);
    gateway.events.drain();
    ftp.expect("USER guessed", 331).await;
    ftp.expect(&format!("PASS {PASSWORD}"), 530).await;
    assert_eq!(
        gateway.events.of(Kind::LoginRefused)[0].cause,
        Some(Cause::Banned)
    );
    // A user of another host.
    let mut other = Ftp::connect(gateway.address).await;
    other.expect("HOST ftp.example.org", 220).await;
    gateway.events.drain();
    other.expect(&format!("USER {USER}"), 331).await;
    other.expect(&format!("PASS {PASSWORD}"), 530).await;
    let event = &gateway.events.of(Kind::LoginRefused)[0];
    assert_eq!(event.cause, Some(Cause::Host));
    let session = event.session.as_ref().unwrap();
    assert_eq!(session.host.as_deref(), Some("ftp.example.org"));
    // Too many sessions of one user.
    let _first = gateway.ftp().await;
    let mut second = Ftp::connect(gateway.address).await;
    gateway.events.drain();
    second.expect(&format!("USER {USER}"), 331).await;
    second.expect(&format!("PASS {PASSWORD}"), 421).await;
    let event = &gateway.events.of(Kind::LoginRefused)[0];
    assert_eq!(event.cause, Some(Cause::Limit));
    assert_eq!(event.class, Some(Class::Busy));
}

#[tokio::test]
async fn a_login_is_an_event_with_the_session() {
    let gateway = Gateway::start().await;
    let ftp = gateway.ftp().await;
    let login = gateway.events.wait_for(Kind::Login).await;
    assert_eq!(login.user(), Some(USER));
    assert_eq!(login.peer(), Some(ftp.local_addr()));
    let opened = gateway.events.wait_for(Kind::SessionOpen).await;
    let id = |event: &s3ftpd::events::Event| event.session.as_ref().unwrap().session.clone();
    assert_eq!(id(&opened), id(&login));
}

#[tokio::test]
async fn a_connection_of_a_banned_address_is_an_event() {
    let gateway = Gateway::builder()
        .with(
            "[limits]\nlogin_attempts = 100\n[login_failures]\nban_after = 2\nban_user_after = 100",
        )
        .start()
        .await;
    let mut ftp = Ftp::connect(gateway.address).await;
    for _ in 0..2 {
        ftp.expect("USER unknown", 331).await;
        ftp.command("PASS wrong").await;
    }
    let ban = gateway.events.wait_for(Kind::Banned).await;
    assert_eq!(ban.user, None);
    gateway.events.drain();
    let mut refused = test_support::ftp::connect_from([127, 0, 0, 1].into(), gateway.address)
        .await
        .map(Ftp::over)
        .unwrap();
    refused.expect_reply(421).await;
    let event = gateway.events.wait_for(Kind::LoginRefused).await;
    assert_eq!(event.cause, Some(Cause::Banned));
    assert_eq!(event.code, Some(421));
    assert!(event.session.is_none() && event.peer.is_some());
}

/// By default the third failure ends the session.
#[tokio::test]
async fn the_last_refused_login_has_the_code_and_the_words_of_its_reply() {
    let pki = Pki::new();
    let gateway = Gateway::builder()
        .with(&pki.section(&format!("client_ca = {:?}", pki.path("ca.crt"))))
        .with("[login_failures]\nban_after = 0\nban_user_after = 3")
        .user("secure", PASSWORD, "{ \"/\" = \"main\" }")
        .with("[users.secure]\ntls = { control = \"required\" }")
        .user("scanner", PASSWORD, "{ \"/\" = \"main\" }")
        .with("[users.scanner]\ncertificate = { subject = \"scanner 7\" }")
        .with("[hosts.\"ftp.example.org\"]\nusers = [\"secure\"]")
        .user("guessed", PASSWORD, "{ \"/\" = \"main\" }")
        .start()
        .await;
    let mut guessing = Ftp::connect(gateway.address).await;
    for _ in 0..3 {
        guessing.expect("USER guessed", 331).await;
        guessing.command("PASS wrong").await;
    }
    gateway.events.wait_for(Kind::Banned).await;
    for (user, password, host, cause) in [
        ("unknown", "x", None, Cause::UnknownUser),
        (USER, "wrong", None, Cause::Password),
        ("guessed", PASSWORD, None, Cause::Banned),
        (USER, PASSWORD, Some("ftp.example.org"), Cause::Host),
        ("secure", PASSWORD, None, Cause::Tls),
        ("scanner", PASSWORD, None, Cause::Certificate),
    ] {
        let mut ftp = Ftp::connect(gateway.address).await;
        if let Some(host) = host {
            ftp.expect(&format!("HOST {host}"), 220).await;
        }
        for code in [530, 530, 421] {
            gateway.events.drain();
            ftp.expect(&format!("USER {user}"), 331).await;
            let reply = ftp.expect(&format!("PASS {password}"), code).await;
            let case = format!("{user}, {code}");
            let event = one_refused(&gateway, &reply, cause, &case);
            assert_eq!(event.class, Some(Class::Permission), "{case}");
            assert_eq!(event.user(), Some(user), "{case}");
            let level = match cause {
                Cause::UnknownUser | Cause::Tls => Level::Info,
                _ => Level::Warn,
            };
            assert_eq!(event.level, level, "{case}");
        }
        ftp.expect_end().await;
        let end = gateway.events.wait_for(Kind::SessionClose).await;
        assert!(
            end.reason.as_deref().unwrap().contains("closing"),
            "{end:?}"
        );
    }
}

#[tokio::test]
async fn an_account_that_needs_another_certificate() {
    let pki = Pki::new();
    let gateway = Gateway::builder()
        .with(&pki.section(&format!("client_ca = {:?}", pki.path("ca.crt"))))
        .user("scanner", PASSWORD, "{ \"/\" = \"main\" }")
        .with("[users.scanner]\ncertificate = { subject = \"scanner 7\" }")
        .start()
        .await;
    let other = pki.client_certificate("scanner 8", &[]);
    let client = pki.client().identity(other).build();
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.auth("AUTH TLS", &client).await;
    gateway.events.drain();
    ftp.expect("USER scanner", 331).await;
    let reply = ftp.expect(&format!("PASS {PASSWORD}"), 530).await;
    one_refused(&gateway, &reply, Cause::Certificate, "another");
}

#[tokio::test]
async fn logins_that_end_the_session_have_the_code_and_the_words_of_their_reply() {
    let pki = Pki::new();
    let gateway = Gateway::builder()
        .with("listen = [{ address = \"127.0.0.1:0\", control = \"required\" }, \"127.0.0.1:0\"]")
        .with(&pki.section(""))
        .with(
            "[limits]\nlogin_attempts = 100\nsessions_per_user = 1\n\
             [login_failures]\nban_after = 2\nban_user_after = 0",
        )
        .start()
        .await;
    let clear = gateway.server.control_addresses()[1];
    // USER before AUTH does not end it.
    let mut ftp = Ftp::connect(gateway.address).await;
    gateway.events.drain();
    let reply = ftp.expect(&format!("USER {USER}"), 530).await;
    one_refused(&gateway, &reply, Cause::Tls, "USER");
    // The user has a session.
    let mut first = Ftp::connect(clear).await;
    first.login(USER, PASSWORD).await;
    let mut second = Ftp::connect(clear).await;
    gateway.events.drain();
    second.expect(&format!("USER {USER}"), 331).await;
    let reply = second.expect(&format!("PASS {PASSWORD}"), 421).await;
    let event = one_refused(&gateway, &reply, Cause::Limit, "sessions_per_user");
    assert_eq!(event.class, Some(Class::Busy));
    // The address is banned while a session waits for its password.
    let mut waiting = Ftp::connect(clear).await;
    waiting.expect(&format!("USER {USER}"), 331).await;
    let mut guessing = Ftp::connect(clear).await;
    for _ in 0..2 {
        guessing.expect("USER unknown", 331).await;
        guessing.command("PASS wrong").await;
    }
    gateway.events.wait_for(Kind::Banned).await;
    gateway.events.drain();
    let reply = waiting.expect(&format!("PASS {PASSWORD}"), 421).await;
    one_refused(&gateway, &reply, Cause::Banned, "a ban");
    waiting.expect_end().await;
}

/// A client that is waiting for the reply of a refused login gets it, then the end.
#[tokio::test]
async fn a_server_that_stops_does_not_change_the_reply_of_a_refused_login() {
    let gateway = Gateway::builder()
        .with("[login_failures]\ndelay = \"1h\"\nmax_delay = \"1h\"")
        .start()
        .await;
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.expect(&format!("USER {USER}"), 331).await;
    ftp.send("PASS wrong").await;
    let event = gateway.events.wait_for(Kind::LoginRefused).await;
    let replies = async {
        let refused = ftp.reply().await;
        (refused, ftp.reply().await)
    };
    let ((refused, end), _) = tokio::join!(replies, gateway.stop());
    assert_eq!(event.code, Some(530));
    assert_eq!(refused.code, 530);
    assert_eq!(event.reason.as_deref(), Some(refused.text()));
    assert_eq!(end.code, 421);
    assert!(end.text().contains("shutting down"), "{end:?}");
}
