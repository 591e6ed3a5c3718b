//! What the page and the JSON show.

use s3ftpd::events::Kind;
use tokio::io::AsyncWriteExt;

use super::http::Request;
use super::{admin, json, json_until, read_only};
use test_support::faults::Fault;
use test_support::ftp::Mode;
use test_support::gateway::BUCKET;
use test_support::pattern;

#[tokio::test]
async fn a_session_is_listed_with_its_user_its_transfer_and_how_far_that_is() {
    let gateway = read_only().start().await;
    let empty = json(&gateway, "/sessions").await;
    assert_eq!(empty["total"], 0, "{empty}");
    let mut ftp = gateway.ftp().await;
    ftp.expect("CLNT tester 1.0", 200).await;
    let idle = json_until(&gateway, "/sessions", |found| {
        found["sessions"][0]["verb"].is_null() && found["sessions"][0]["client"] == "tester 1.0"
    })
    .await;
    let session = &idle["sessions"][0];
    assert_eq!(session["user"], "u");
    assert_eq!(session["peer"], ftp.local_addr().to_string());
    assert!(
        session["transfer"].is_null() && session["tls"].is_null(),
        "{session}"
    );

    let mut data = ftp.data_passive().await;
    ftp.expect("STOR /in.bin", 150).await;
    data.write_all(&[7; 5000]).await.unwrap();
    let busy = json_until(&gateway, "/sessions", |found| {
        found["sessions"][0]["transfer"]["bytes"] == 5000
    })
    .await;
    let transfer = &busy["sessions"][0]["transfer"];
    assert_eq!(busy["sessions"][0]["verb"], "STOR");
    assert_eq!(transfer["path"], "/in.bin");
    assert_eq!(transfer["direction"], "in");
    assert!(transfer["expected"].is_null(), "{transfer}");
    assert!(transfer["rate"].as_f64().unwrap() > 0.0, "{transfer}");
    let page = Request::get("/").send(admin(&gateway)).await.body;
    for text in ["/in.bin", "4.9 KiB", "tester 1.0", "<code>STOR</code>"] {
        assert!(page.contains(text), "{text}: {page}");
    }
    drop(data);
    let done = ftp.expect_reply(226).await;
    let idle = json_until(&gateway, "/sessions", |found| {
        found["sessions"][0]["transfer"].is_null()
    })
    .await;
    assert_eq!(idle["total"], 1);

    let found = json(&gateway, "/transfers").await;
    let event = &found["transfers"][0];
    assert_eq!(event["event"], "transfer");
    assert_eq!(event["transfer"], done.id().unwrap());
    assert_eq!(event["path"], "/in.bin");
    assert_eq!(event["bytes"], 5000);
    assert_eq!(event["class"], "ok");
    assert_eq!(event["bucket"], BUCKET);
    ftp.close().await;
    json_until(&gateway, "/sessions", |found| found["total"] == 0).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_download_shows_how_much_there_will_be() {
    let gateway = read_only().start().await;
    // More than sockets hold.
    let bytes = pattern(32 << 20, 1);
    gateway.store.put(BUCKET, "big", &bytes);
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    let data = ftp.data_passive().await;
    ftp.expect("RETR /big", 150).await;
    let busy = json_until(&gateway, "/sessions", |found| {
        found["sessions"][0]["transfer"]["bytes"]
            .as_u64()
            .unwrap_or(0)
            > 0
    })
    .await;
    let transfer = &busy["sessions"][0]["transfer"];
    assert_eq!(transfer["expected"], 32 << 20);
    assert_eq!(transfer["direction"], "out");
    let page = Request::get("/").send(admin(&gateway)).await.body;
    assert!(page.contains("of 32.0 MiB"), "{page}");
    drop(data);
    ftp.reply().await;
    gateway.stop().await;
}

#[tokio::test]
async fn transfers_and_failures_are_searched_by_user_path_and_class() {
    let gateway = read_only()
        .user("acme", "p", "{ \"/\" = \"main\" }")
        .start()
        .await;
    let mut one = gateway.ftp().await;
    one.store("/in/a.csv", b"a").await;
    one.store("/in/b.csv", b"b").await;
    let mut other = gateway.ftp_as("acme", "p").await;
    let refused = other
        .download_with("RETR /in/none.csv", Mode::Passive)
        .await
        .1;
    assert_eq!(refused.code, 550);
    let mut stranger = test_support::ftp::Ftp::connect(gateway.address).await;
    stranger.expect("USER unknown", 331).await;
    stranger.expect("PASS wrong", 530).await;
    gateway.events.wait_for(Kind::LoginRefused).await;

    let paths = async |query: &str| -> Vec<String> {
        let found = json(&gateway, &format!("/transfers{query}")).await;
        let events = found["transfers"].as_array().unwrap().clone();
        let path = |event: &serde_json::Value| event["path"].as_str().unwrap_or("-").to_owned();
        events.iter().map(path).collect()
    };
    for (query, expected) in [
        ("", &["-", "/in/none.csv", "/in/b.csv", "/in/a.csv"][..]),
        ("?user=ACME", &["/in/none.csv"]),
        ("?path=in%2Fb", &["/in/b.csv"]),
        ("?class=ok", &["/in/b.csv", "/in/a.csv"]),
        ("?class=failed", &["-", "/in/none.csv"]),
        ("?class=not_found&user=acme", &["/in/none.csv"]),
        ("?user=&path=&class=&limit=1", &["-"]),
        ("?user=unknown", &["-"]),
        ("?user=else", &[]),
        (&format!("?id={}", refused.id().unwrap()), &["/in/none.csv"]),
        ("?id=none", &[]),
    ] {
        assert_eq!(paths(query).await, expected, "{query}");
    }
    let first = json(&gateway, "/transfers?limit=2").await;
    let next = first["next"].as_u64().unwrap();
    let second = paths(&format!("?limit=2&before={next}")).await;
    assert_eq!(second, ["/in/b.csv", "/in/a.csv"]);
    let last = json(&gateway, "/transfers").await;
    assert!(last["next"].is_null(), "{last}");
    for wrong in ["?class=fine", "?limit=many", "?before=-1", "?transfer=x"] {
        let answer = Request::get(&format!("/transfers{wrong}"))
            .send(admin(&gateway))
            .await;
        assert_eq!(answer.status, 400, "{wrong}");
    }

    let page = Request::get("/?user=acme").send(admin(&gateway)).await.body;
    assert!(
        page.contains("/in/none.csv") && !page.contains("/in/a.csv"),
        "{page}"
    );
    assert!(page.contains("no such file or directory"), "{page}");
    assert!(page.contains(refused.id().unwrap()), "{page}");
    gateway.stop().await;
}

#[tokio::test]
async fn a_listing_that_breaks_off_is_among_the_failures() {
    let gateway = read_only()
        .with("[stores.main]\nattempts = 1")
        .start()
        .await;
    for number in 0..1001 {
        gateway.store.put(BUCKET, &format!("dir/{number}"), "");
    }
    let mut ftp = gateway.ftp().await;
    // A listing that ends well is not worth a place.
    assert_eq!(ftp.list("LIST").await.1.code, 226);
    let second = gateway.store.fail("ListObjectsV2").nth(2);
    second.with(Fault::Status(403, "AccessDenied"));
    let reply = ftp.list("LIST dir").await.1;
    assert!(reply.code >= 400, "{reply:?}");
    let found = json(&gateway, "/transfers").await;
    let events = found["transfers"].as_array().unwrap();
    assert_eq!(events.len(), 1, "{found}");
    assert_eq!(events[0]["verb"], "LIST", "{found}");
    assert_eq!(events[0]["transfer"], reply.id().unwrap(), "{found}");
    assert_eq!(events[0]["class"], "store_denied", "{found}");
    let page = Request::get("/?class=failed").send(admin(&gateway)).await;
    assert!(page.body.contains(reply.id().unwrap()), "{}", page.body);
    gateway.stop().await;
}

#[tokio::test]
async fn the_page_names_the_stores_the_memory_and_the_process() {
    let gateway = read_only().with("replica = \"ftp-<0>\"").start().await;
    let stores = json(&gateway, "/stores").await;
    assert_eq!(stores["stores"][0]["store"], "main");
    assert_eq!(stores["stores"][0]["buckets"][0]["bucket"], BUCKET);
    assert!(stores["stores"][0]["state"].is_string(), "{stores}");
    let endpoint = stores["stores"][0]["endpoint"].as_str().unwrap();
    assert_eq!(endpoint, gateway.store.endpoint());
    let answer = Request::get("/").send(admin(&gateway)).await;
    let page = &answer.body;
    for text in [
        "ftp-&lt;0&gt;",
        env!("CARGO_PKG_VERSION"),
        "of 256.0 MiB",
        endpoint,
        "configuration <code>",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    let (key, secret) = gateway.store.credentials();
    assert!(!page.contains(secret) && !page.contains(key), "{page}");
    let status = json(&gateway, "/status").await;
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    let hash = status["configuration"].as_str().unwrap();
    assert!(
        page.contains(&format!("<code>{hash}</code>")),
        "{hash}: {page}"
    );
    // A part of it, for the page that is open.
    let live = Request::get("/live").send(admin(&gateway)).await.body;
    assert!(
        live.contains("<section id=\"sessions\"") && !live.contains("<html"),
        "{live}"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn answers_may_not_be_framed_cached_or_run_foreign_scripts() {
    let gateway = read_only().start().await;
    for path in [
        "/",
        "/live",
        "/sessions",
        "/transfers",
        "/stores",
        "/bans",
        "/login",
    ] {
        let answer = Request::get(path).send(admin(&gateway)).await;
        let policy = answer.header("content-security-policy").unwrap();
        for part in [
            "default-src 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
    }
    gateway.stop().await;
}
