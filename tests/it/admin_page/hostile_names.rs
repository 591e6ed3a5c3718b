//! Names that clients choose are text on the page, whatever they hold.

use s3ftpd::events::Kind;

use super::http::Request;
use super::{admin, json, json_until, with_token};
use test_support::ftp::{Ftp, Mode};

/// The user's name, the client's name and a file's name.
const USER: &str = "<script>alert(1)</script>";
const CLIENT: &str = "\"><img src=x onerror=alert(2)>";
const FILE: &str = "</td><svg onload=alert(3)> & 'x' \u{202e}gpj.exe";

#[tokio::test]
async fn hostile_names_are_escaped_on_the_page_and_exact_in_json() {
    let gateway = with_token()
        .user(&format!("\"{USER}\""), "p", "{ \"/\" = \"main\" }")
        .start()
        .await;
    let mut ftp = gateway.ftp_as(USER, "p").await;
    ftp.expect(&format!("CLNT {CLIENT}"), 200).await;
    ftp.expect("TYPE I", 200).await;
    assert_eq!(ftp.store(&format!("/{FILE}"), b"x").await.code, 226);
    let missing = format!("RETR /missing {FILE}");
    assert_eq!(ftp.download_with(&missing, Mode::Passive).await.1.code, 550);
    // A login with a hostile name, which no configuration has.
    let mut stranger = Ftp::connect(gateway.address).await;
    stranger.expect(&format!("USER {CLIENT}"), 331).await;
    stranger.expect("PASS wrong", 530).await;
    gateway.events.wait_for(Kind::LoginRefused).await;
    // And a transfer that runs.
    let data = ftp.data_passive().await;
    ftp.expect(&format!("STOR /running {FILE}"), 150).await;
    json_until(&gateway, "/sessions", |found| {
        found["sessions"][0]["transfer"].is_object()
    })
    .await;

    let login = format!("token={}", super::TOKEN);
    let cookie = Request::post("/login", &login)
        .sent_by_page(admin(&gateway), "")
        .send(admin(&gateway))
        .await;
    let query = "%3C%2Ftd%3E%3Csvg"; // </td><svg
    for path in [
        "/",
        "/live",
        "/?path=%22%3E%3Cimg%20src%3Dx",
        &format!("/?path={query}"),
    ] {
        let page = Request::get(path)
            .with("Cookie", cookie.cookie())
            .send(admin(&gateway))
            .await
            .body;
        for text in [
            "<script>alert",
            "<img",
            "<svg",
            "onerror=alert(2)>\"",
            "\u{202e}",
        ] {
            assert!(!page.contains(text), "{path}: {text}: {page}");
        }
    }
    let page = Request::get("/").send(admin(&gateway)).await.body;
    for text in [
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "&quot;&gt;&lt;img src=x onerror=alert(2)&gt;",
        "&lt;/td&gt;&lt;svg onload=alert(3)&gt; &amp; 'x' \\u{202e}gpj.exe",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }

    let sessions = json(&gateway, "/sessions").await;
    assert_eq!(sessions["sessions"][0]["user"], USER);
    assert_eq!(sessions["sessions"][0]["client"], CLIENT);
    let path = format!("/running {FILE}");
    assert_eq!(sessions["sessions"][0]["transfer"]["path"], path);
    let events = json(&gateway, "/transfers").await;
    let all = events["transfers"].as_array().unwrap();
    assert!(
        all.iter().any(|event| event["path"] == format!("/{FILE}")),
        "{events}"
    );
    assert!(all.iter().any(|event| event["user"] == CLIENT), "{events}");
    drop(data);
    gateway.stop().await;
}
