//! A configuration that changes while the server runs.

mod files;
mod running_sessions;
mod stores;

use std::sync::Arc;

use s3ftpd::events::{Class, Event, Level};

use test_support::ftp::Ftp;
use test_support::gateway::{Gateway, PASSWORD, USER};
use test_support::settings::user_section;

/// Checks that a configuration was taken over, and what the event says.
fn taken(event: &Arc<Event>, says: &str) {
    let reason = event.reason.as_deref().unwrap_or_default();
    assert_eq!(event.class, Some(Class::Ok), "{event:#?}");
    assert!(reason.contains(says), "{event:#?}\nlacks {says}");
}

/// Checks that a configuration was refused, and why.
fn refused(event: &Arc<Event>, why: &str) {
    let detail = event.detail.as_deref().unwrap_or_default();
    assert_eq!(
        (event.class, event.level),
        (Some(Class::Invalid), Level::Error),
        "{event:#?}"
    );
    assert!(detail.contains(why), "{event:#?}\nlacks {why}");
}

async fn login(gateway: &Gateway, user: &str, password: &str) -> u16 {
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.expect(&format!("USER {user}"), 331).await;
    ftp.command(&format!("PASS {password}")).await.code
}

#[tokio::test]
async fn users_are_added_changed_and_removed() {
    let gateway = Gateway::start().await;
    let other = user_section("v", "q", "{ \"/\" = \"main\" }");
    let event = gateway.reload(|settings| settings.lay(&other)).await;
    taken(&event, "2 users, 1 added, 0 removed");
    assert_eq!(login(&gateway, "v", "q").await, 230);
    let other = user_section("v", "new", "{ \"/\" = \"main\" }");
    let event = gateway.reload(|settings| settings.lay(&other)).await;
    taken(&event, "2 users, 0 added, 0 removed");
    assert_eq!(login(&gateway, "v", "q").await, 530);
    assert_eq!(login(&gateway, "v", "new").await, 230);
    let event = gateway
        .reload(|settings| settings.remove("users", "v"))
        .await;
    taken(&event, "1 users, 0 added, 1 removed");
    assert_eq!(login(&gateway, "v", "new").await, 530);
    assert_eq!(login(&gateway, USER, PASSWORD).await, 230);
    gateway.stop().await;
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_with_all_its_errors() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    let wrong =
        "[users.v]\npassword = \"x\"\nmounts = { \"/\" = \"none\" }\n[limits]\nsessions = 0";
    let event = gateway.reload(|settings| settings.lay(wrong)).await;
    for why in [
        "users.v.password",
        "there is no mount \"none\"",
        "limits.sessions",
    ] {
        refused(&event, why);
    }
    assert_eq!(ftp.store("a", b"a").await.code, 226);
    assert_eq!(login(&gateway, USER, PASSWORD).await, 230);
    assert_eq!(login(&gateway, "v", "x").await, 530);
    let event = gateway
        .reload(|settings| {
            settings.remove("users", "v");
            settings.lay("[limits]\nsessions = 50");
        })
        .await;
    taken(&event, "a restart is needed for limits");
    assert_eq!(event.level, Level::Warn);
    ftp.close().await;
    gateway.stop().await;
}

/// Each session sees the users, hosts and mounts of one configuration.
#[tokio::test]
async fn hosts_and_greetings_follow() {
    let gateway = Gateway::builder()
        .with("[hosts.\"a.example.com\"]\ngreeting = \"one\"")
        .start()
        .await;
    let change = "[hosts.\"a.example.com\"]\ngreeting = \"two\"\nusers = [\"u\"]\n[hosts.\"b.example.com\"]\ngreeting = \"three\"";
    let event = gateway.reload(|settings| settings.lay(change)).await;
    taken(&event, "0 added");
    let mut ftp = Ftp::connect(gateway.address).await;
    assert_eq!(ftp.expect("HOST a.example.com", 220).await.text(), "two");
    assert_eq!(ftp.expect("HOST b.example.com", 220).await.text(), "three");
    ftp.login(USER, PASSWORD).await;
    ftp.close().await;
    gateway.stop().await;
}
