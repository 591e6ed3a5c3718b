//! Logins × cause: the operator learns the cause, the client gets one reply for most of them.

use s3ftpd::events::{Cause, Class, Kind};

use test_support::ftp::Ftp;
use test_support::gateway::{Gateway, PASSWORD, USER};
use test_support::tls::Pki;

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
        .start()
        .await;
    let mut ftp = Ftp::connect(gateway.address).await;
    let cases = [
        ("unknown", PASSWORD, Cause::UnknownUser),
        ("anonymous", PASSWORD, Cause::UnknownUser),
        (USER, "wrong", Cause::Password),
        ("secure", PASSWORD, Cause::Tls),
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
