//! What the configuration says of users and groups, as their sessions see it.

use test_support::ftp::Ftp;
use test_support::gateway::{BUCKET, Gateway, PASSWORD};
use test_support::settings::user_section;
use test_support::tls::Pki;

/// A group whose users have directories of their own.
const GROUP: &str = "[mounts.in]\nstore = \"main\"\nbucket = \"files\"\nprefix = \"{customer}/{user}/in\"\n\
                     [groups.partner]\nmounts = { \"/in\" = \"in\" }\nstart_directory = \"/in\"\n";

fn member(name: &str, customer: &str) -> String {
    let more = format!("attributes = {{ customer = \"{customer}\" }}\ngroup = \"partner\"\n");
    user_section(name, PASSWORD, "{}") + &more
}

async fn log_in(ftp: &mut Ftp, user: &str, password: &str, code: u16) {
    ftp.expect(&format!("USER {user}"), 331).await;
    ftp.expect(&format!("PASS {password}"), code).await;
}

#[tokio::test]
async fn users_of_a_group_have_directories_of_their_own() {
    let gateway = Gateway::builder()
        .with(GROUP)
        .with(&member("p1", "acme"))
        .with(&member("p2", "bolt"))
        .start()
        .await;
    for (user, other) in [("p1", "bolt/p2"), ("p2", "acme/p1")] {
        let mut ftp = Ftp::connect(gateway.address).await;
        log_in(&mut ftp, user, PASSWORD, 230).await;
        assert!(ftp.expect("PWD", 257).await.text().contains("\"/in\""));
        assert_eq!(ftp.store("mine", user.as_bytes()).await.code, 226);
        for path in [
            format!("/../{other}/in/mine"),
            format!("../../{other}/in/mine"),
            format!("/{other}/in/mine"),
        ] {
            ftp.expect(&format!("SIZE {path}"), 550).await;
        }
        // REIN forgets the current directory.
        ftp.expect("REIN", 220).await;
        log_in(&mut ftp, user, PASSWORD, 230).await;
        assert_eq!(ftp.retrieve("mine").await.0, user.as_bytes());
        ftp.close().await;
    }
    let store = &gateway.store;
    assert_eq!(store.object(BUCKET, "acme/p1/in/mine").unwrap(), b"p1");
    assert_eq!(store.object(BUCKET, "bolt/p2/in/mine").unwrap(), b"p2");
    gateway.stop().await;
}

#[tokio::test]
async fn during_a_rotation_both_passwords_are_right() {
    let next = user_section("x", "next", "{}");
    let next = next.lines().nth(1).unwrap();
    let next = next.replace("password", "next_password");
    let gateway = Gateway::builder()
        .user("v", "first", "{ \"/\" = \"main\" }")
        .with(&format!("[users.v]\n{next}"))
        .with("[limits]\nlogin_attempts = 100")
        .start()
        .await;
    let mut ftp = Ftp::connect(gateway.address).await;
    for (password, code) in [("first", 230), ("next", 230), ("other", 530), ("", 530)] {
        log_in(&mut ftp, "v", password, code).await;
    }
    ftp.close().await;
    gateway.stop().await;
}

/// A login without a password is refused for the same reasons as one with it.
#[tokio::test]
async fn a_certificate_does_not_help_a_user_who_may_not_log_in() {
    let pki = Pki::new();
    let certificate = |name: &str, more: &str| {
        format!(
            "[users.{name}]\ncertificate = {{ subject = \"client\", password = \"none\" }}\nmounts = {{ \"/\" = \"main\" }}\n{more}\n"
        )
    };
    let gateway = Gateway::builder()
        .with(&pki.section(&format!("client_ca = {:?}", pki.path("ca.crt"))))
        .with(&certificate("disabled", "disabled = true"))
        .with(&certificate("expired", "expires = \"2020-01-01\""))
        .with(&certificate("elsewhere", "networks = [\"192.0.2.0/24\"]"))
        .with(&certificate("welcome", "networks = [\"127.0.0.0/8\"]"))
        .start()
        .await;
    let client = pki
        .client()
        .identity(pki.client_certificate("client", &[]))
        .build();
    for (user, code) in [
        ("disabled", 530),
        ("expired", 530),
        ("elsewhere", 530),
        ("welcome", 232),
    ] {
        let mut ftp = Ftp::connect(gateway.address).await;
        ftp.auth("AUTH TLS", &client).await;
        let reply = ftp.command(&format!("USER {user}")).await;
        assert_eq!(reply.code, code, "{user}: {reply:?}");
        ftp.close().await;
    }
    gateway.stop().await;
}
