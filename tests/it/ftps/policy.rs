//! Which clients must use TLS: `control` and `data`, of `[tls]`, of a listener, of a user.

use super::{download, implicit, secured, upload, with_tls};
use test_support::ftp::Ftp;
use test_support::gateway::{BUCKET, Gateway, PASSWORD, USER};
use test_support::tls::Pki;

#[tokio::test]
async fn control_required_refuses_user_before_the_password() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "control = \"required\"").start().await;
    let client = pki.client().build();
    let mut ftp = Ftp::connect(gateway.address).await;
    for user in [USER, "unknown"] {
        let reply = ftp.expect(&format!("USER {user}"), 530).await;
        assert!(reply.text().contains("AUTH TLS"), "{reply:?}");
    }
    ftp.expect("PASS p", 503).await;
    ftp.expect("FEAT", 211).await;
    ftp.auth("AUTH TLS", &client).await;
    ftp.login(USER, PASSWORD).await;
    gateway.stop().await;
}

#[tokio::test]
async fn data_required_refuses_clear_transfers() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "data = \"required\"").start().await;
    gateway.store.put(BUCKET, "x", "1");
    let client = pki.client().build();
    let mut plain = gateway.ftp().await;
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.auth("AUTH TLS", &client).await;
    ftp.login(USER, PASSWORD).await;
    ftp.expect("PBSZ 0", 200).await;
    ftp.expect("PROT C", 534).await;
    for ftp in [&mut plain, &mut ftp] {
        for command in ["STOR y", "RETR x", "LIST", "MLSD", "APPE x", "STOU"] {
            let data = ftp.data_passive().await;
            ftp.expect(command, 522).await;
            drop(data);
        }
        ftp.in_step().await;
    }
    ftp.expect("PROT P", 200).await;
    assert_eq!(download(&mut ftp, &client, "RETR x").await.0, b"1");
    assert_eq!(gateway.store.keys(BUCKET), ["x"]);
    gateway.stop().await;
}

#[tokio::test]
async fn off_is_off() {
    let pki = Pki::new();
    let client = pki.client().build();
    let gateway = with_tls(&pki, "data = \"off\"").start().await;
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.auth("AUTH TLS", &client).await;
    ftp.login(USER, PASSWORD).await;
    ftp.expect("PBSZ 0", 200).await;
    ftp.expect("PROT P", 534).await;
    assert_eq!(ftp.store("x", b"1").await.code, 226);
    // Also if data connections would be private without PROT.
    let mut ftp = Ftp::connect_implicit(implicit(&gateway), &client).await;
    ftp.login(USER, PASSWORD).await;
    assert_eq!(ftp.store("x", b"2").await.code, 226);
    ftp.expect("PROT P", 534).await;
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.auth("AUTH SSL", &client).await;
    ftp.login(USER, PASSWORD).await;
    assert_eq!(ftp.store("x", b"3").await.code, 226);
    let status = ftp.expect("STAT", 211).await.lines.join(" ");
    assert!(status.contains("data connections are clear"), "{status}");
    gateway.stop().await;
    let gateway = with_tls(&pki, "control = \"off\"").start().await;
    let mut ftp = gateway.ftp().await;
    ftp.expect("AUTH TLS", 502).await;
    let feat = ftp.expect("FEAT", 211).await;
    assert!(!feat.lines.join(" ").contains("AUTH"), "{feat:?}");
    let mut ftp = Ftp::connect_implicit(implicit(&gateway), &client).await;
    ftp.login(USER, PASSWORD).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_listener_has_its_own_policy() {
    let pki = Pki::new();
    let gateway = Gateway::builder()
        .with(
            "listen = [\"127.0.0.1:0\", { address = \"127.0.0.1:0\", control = \"required\", data = \"required\" }, { address = \"127.0.0.1:0\", control = \"off\" }]",
        )
        .with(&pki.section(""))
        .start()
        .await;
    let addresses = gateway.server.control_addresses().to_vec();
    let mut first = Ftp::connect(addresses[0]).await;
    first.login(USER, PASSWORD).await;
    let mut strict = Ftp::connect(addresses[1]).await;
    strict.expect("USER u", 530).await;
    let client = pki.client().build();
    strict.auth("AUTH TLS", &client).await;
    strict.login(USER, PASSWORD).await;
    let _data = strict.data_passive().await;
    strict.expect("LIST", 522).await;
    let mut none = Ftp::connect(addresses[2]).await;
    none.expect("AUTH TLS", 502).await;
    none.login(USER, PASSWORD).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_user_has_their_own_policy_and_is_not_revealed_by_it() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "")
        .user("strict", "s", "{ \"/\" = \"main\" }")
        .with("[users.strict]\ntls = { control = \"required\", data = \"required\" }")
        .user("old", "o", "{ \"/\" = \"main\" }")
        .with("[users.old]\ntls = { control = \"off\" }")
        .user("clear", "c", "{ \"/\" = \"main\" }")
        .with("[users.clear]\ntls = { data = \"off\" }\n[limits]\nlogin_attempts = 4")
        .start()
        .await;
    let client = pki.client().build();
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.expect("USER strict", 331).await;
    let wrong = ftp.expect("PASS wrong", 530).await;
    ftp.expect("USER unknown", 331).await;
    let unknown = ftp.expect("PASS wrong", 530).await;
    assert_eq!(wrong.text(), unknown.text());
    ftp.expect("USER strict", 331).await;
    let refused = ftp.expect("PASS s", 530).await;
    assert!(refused.text().contains("AUTH TLS"), "{refused:?}");
    ftp.expect("PWD", 530).await;
    ftp.auth("AUTH TLS", &client).await;
    ftp.login("strict", "s").await;
    let data = ftp.data_passive().await;
    ftp.expect("LIST", 522).await;
    drop(data);
    ftp.expect("PBSZ 0", 200).await;
    ftp.expect("PROT C", 534).await;
    ftp.expect("PROT P", 200).await;
    assert_eq!(upload(&mut ftp, &client, "x", b"1").await.code, 226);

    // Without PROT the user's policy decides.
    let mut ftp = Ftp::connect_implicit(implicit(&gateway), &client).await;
    ftp.login("clear", "c").await;
    assert_eq!(ftp.store("y", b"1").await.code, 226);
    ftp.login(USER, PASSWORD).await;
    assert_eq!(upload(&mut ftp, &client, "y", b"2").await.code, 226);

    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.login("old", "o").await;
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.auth("AUTH TLS", &client).await;
    ftp.expect("USER old", 331).await;
    ftp.expect("PASS o", 530).await;
    secured(&gateway, &client).await;
    gateway.stop().await;
}

/// The password was right, so it causes no ban; but it cost a hash.
#[tokio::test]
async fn logins_refused_without_tls_count_as_attempts_and_not_as_failures() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "")
        .user("strict", "s", "{ \"/\" = \"main\" }")
        .with("[users.strict]\ntls = { control = \"required\" }\n[limits]\nlogin_attempts = 2")
        .with("[login_failures]\nban_after = 1\nban_user_after = 1")
        .start()
        .await;
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.expect("USER strict", 331).await;
    let refused = ftp.expect("PASS s", 530).await;
    ftp.expect("USER strict", 331).await;
    let last = ftp.expect("PASS s", 421).await;
    let expected = format!("{}, closing the connection", refused.text());
    assert_eq!(last.text(), expected);
    ftp.expect_end().await;
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.auth("AUTH TLS", &pki.client().build()).await;
    ftp.login("strict", "s").await;
    gateway.stop().await;
}

#[tokio::test]
async fn the_oldest_version_can_be_named() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "min_version = \"1.3\"").start().await;
    let old = pki.client().version(&rustls::version::TLS12).build();
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.expect("AUTH TLS", 234).await;
    ftp.handshake(&old).await.unwrap_err();
    let new = pki.client().version(&rustls::version::TLS13).build();
    secured(&gateway, &new).await;
    gateway.stop().await;
}
