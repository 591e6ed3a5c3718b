//! What an operator changes: sessions end, and the log's filter is set.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use s3ftpd::config;
use s3ftpd::events::{Class, Kind};
use s3ftpd::server::admin::status::LogSwitch;
use s3ftpd::server::builder::Builder;
use tokio::io::AsyncWriteExt;

use super::http::Request;
use super::{TOKEN, json, json_until, post, with_token};
use test_support::gateway::{BUCKET, Gateway};
use test_support::settings::Settings;
use test_support::store::Store;
use test_support::tls::Pki;

async fn end(gateway: &Gateway, user: &str) {
    let found = json(gateway, &format!("/sessions?user={user}")).await;
    assert_eq!(found["total"], 1, "{found}");
    let id = found["sessions"][0]["session"].as_str().unwrap();
    let answer = post(gateway, &format!("/sessions/{id}/end"), "").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test]
async fn an_idle_session_gets_a_421_and_others_stay() {
    let gateway = with_token()
        .user("other", "p", "{ \"/\" = \"main\" }")
        .start()
        .await;
    let mut ftp = gateway.ftp().await;
    let mut other = gateway.ftp_as("other", "p").await;
    end(&gateway, "u").await;
    let last = ftp.expect_reply(421).await;
    assert!(last.text().contains("operator"), "{last:?}");
    ftp.expect_end().await;
    let closed = gateway.events.wait_for(Kind::SessionClose).await;
    let reason = closed.reason.as_deref().unwrap();
    assert!(reason.contains("operator"), "{reason}");
    other.in_step().await;
    json_until(&gateway, "/sessions", |found| found["total"] == 1).await;
    let gone = post(&gateway, "/sessions/nothere/end", "").await;
    assert_eq!(gone.status, 404);
    gateway.stop().await;
}

#[tokio::test]
async fn a_session_without_a_login_can_be_ended() {
    let gateway = with_token().start().await;
    let mut ftp = test_support::ftp::Ftp::connect(gateway.address).await;
    ftp.expect("USER u", 331).await;
    end(&gateway, "").await;
    ftp.expect_reply(421).await;
    ftp.expect_end().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_session_that_is_ended_in_its_handshake_is_no_refused_login() {
    let pki = Pki::new();
    let gateway = with_token().with(&pki.section("")).start().await;
    let mut ftp = test_support::ftp::Ftp::connect(gateway.address).await;
    ftp.expect("AUTH TLS", 234).await;
    // Half a ClientHello.
    ftp.send_raw(&[22, 3, 1, 2, 0, 1, 0]).await;
    end(&gateway, "").await;
    let closed = gateway.events.wait_for(Kind::SessionClose).await;
    let reason = closed.reason.as_deref().unwrap();
    assert!(reason.contains("operator"), "{reason}");
    assert!(gateway.events.of(Kind::LoginRefused).is_empty());
    ftp.expect_end().await;
    gateway.stop().await;
}

#[tokio::test]
async fn an_upload_that_is_cut_is_not_published_and_its_event_says_why() {
    let gateway = with_token().start().await;
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    let mut data = ftp.data_passive().await;
    ftp.expect("STOR /cut.bin", 150).await;
    data.write_all(&[1; 1000]).await.unwrap();
    json_until(&gateway, "/sessions", |found| {
        found["sessions"][0]["transfer"]["bytes"] == 1000
    })
    .await;
    end(&gateway, "u").await;
    let cut = ftp.expect_reply(426).await;
    assert!(
        cut.text().contains("the operator has ended the session"),
        "{cut:?}"
    );
    ftp.expect_reply(421).await;
    ftp.expect_end().await;
    let event = gateway.events.wait_for(Kind::Transfer).await;
    assert_eq!(event.class, Some(Class::Shutdown));
    assert_eq!(event.id.as_deref(), cut.id());
    assert!(gateway.store.object(BUCKET, "cut.bin").is_none());
    gateway.stop().await;
}

/// Takes any filter but one.
#[derive(Debug)]
struct Switch(Mutex<String>);

impl LogSwitch for Switch {
    fn filter(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    fn set_filter(&self, filter: &str) -> Result<(), String> {
        if filter == "inof" {
            return Err("\"inof\" is not <a> level".to_owned());
        }
        filter.clone_into(&mut self.0.lock().unwrap());
        Ok(())
    }

    fn lost_lines(&self) -> Arc<AtomicU64> {
        Arc::default()
    }
}

#[tokio::test]
async fn the_filter_of_the_log_is_shown_and_set() {
    let store = Store::start(&[BUCKET]).await;
    let settings = Settings::least(&store).with(&format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"{TOKEN}\""
    ));
    let options = config::from_str(&settings.text(), "test").unwrap();
    let switch = Arc::new(Switch(Mutex::new("info".to_owned())));
    let builder = Builder::new(options, Vec::new()).await.unwrap();
    let builder = builder.log_switch(switch.clone());
    let server = builder.bind().await.unwrap().spawn().unwrap();
    let address = server.admin_address().unwrap();
    let cookie = Request::post("/login", &format!("token={TOKEN}"))
        .sent_by_page(address, "")
        .send(address)
        .await;
    let set = async |filter: &str| {
        Request::post("/log/filter", &format!("filter={filter}"))
            .sent_by_page(address, cookie.cookie())
            .send(address)
            .await
    };
    let page = Request::get("/").send(address).await.body;
    assert!(!page.contains("/log/filter"), "not logged in: {page}");
    let page = Request::get("/")
        .with("Cookie", cookie.cookie())
        .send(address)
        .await
        .body;
    assert!(page.contains("value=\"info\""), "{page}");
    assert_eq!(set("s3ftpd%3Ddebug%2Cinfo").await.status, 303);
    assert_eq!(switch.filter(), "s3ftpd=debug,info");
    let wrong = set("inof").await;
    assert_eq!(wrong.status, 400);
    assert!(
        wrong.body.contains("is not &lt;a&gt; level"),
        "{}",
        wrong.body
    );
    assert_eq!(set(&"x".repeat(501)).await.status, 400);
    assert_eq!(switch.filter(), "s3ftpd=debug,info");
    server.stop().await;
}
