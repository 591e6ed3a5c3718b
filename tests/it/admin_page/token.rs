//! Who may change something.

use super::http::{Answer, Request};
use super::{TOKEN, admin, json, post, read_only, with_token};
use test_support::gateway::Gateway;

const HTML: (&str, &str) = ("Accept", "text/html");

/// The id of the one session.
async fn session(gateway: &Gateway) -> String {
    let found = json(gateway, "/sessions").await;
    found["sessions"][0]["session"].as_str().unwrap().to_owned()
}

async fn log_in(gateway: &Gateway, token: &str) -> Answer {
    Request::post("/login", &format!("token={token}"))
        .sent_by_page(admin(gateway), "")
        .send(admin(gateway))
        .await
}

#[tokio::test]
async fn without_a_token_in_the_configuration_nothing_can_be_changed() {
    let gateway = read_only().start().await;
    let mut ftp = gateway.ftp().await;
    let end = format!("/sessions/{}/end", session(&gateway).await);
    for path in [&*end, "/bans/0/lift", "/log/filter"] {
        let answer = post(&gateway, path, "filter=debug").await;
        assert_eq!(answer.status, 403, "{path}");
        assert!(answer.body.contains("read-only"), "{path}: {}", answer.body);
    }
    assert_eq!(log_in(&gateway, TOKEN).await.status, 403);
    let page = Request::get("/").send(admin(&gateway)).await.body;
    assert!(
        !page.contains("Log in") && !page.contains("method=\"post\""),
        "{page}"
    );
    ftp.in_step().await;
    gateway.stop().await;
}

#[tokio::test]
async fn only_the_right_token_changes_something_and_guesses_are_refused() {
    let gateway = with_token().start().await;
    let mut ftp = gateway.ftp().await;
    let end = format!("/sessions/{}/end", session(&gateway).await);
    let none = Request::post(&end, "").send(admin(&gateway)).await;
    assert_eq!(none.status, 401);
    assert_eq!(none.header("www-authenticate"), Some("Bearer"));
    // A person is sent to the form.
    let (name, value) = HTML;
    let none = Request::post(&end, "")
        .with(name, value)
        .send(admin(&gateway))
        .await;
    assert_eq!(
        (none.status, none.header("location")),
        (303, Some("/login"))
    );
    let wrong = async |token: &str| {
        let bearer = format!("Bearer {token}");
        let request = Request::post(&end, "").with("Authorization", &bearer);
        request.send(admin(&gateway)).await.status
    };
    // They wait for a second each, in parallel.
    let guesses = (0..10).map(|number| {
        let wrong = &wrong;
        async move { wrong(&format!("{TOKEN}{number}")).await }
    });
    let refused = futures::future::join_all(guesses).await;
    assert_eq!(refused, [403; 10]);
    assert_eq!(
        wrong(TOKEN).await,
        429,
        "the address is refused for a minute"
    );
    assert_eq!(log_in(&gateway, TOKEN).await.status, 429);
    // Everything else is still answered, and nothing was done.
    assert_eq!(Request::get("/").send(admin(&gateway)).await.status, 200);
    ftp.in_step().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_browser_logs_in_once_and_only_its_own_page_may_use_the_cookie() {
    let gateway = with_token().start().await;
    let mut ftp = gateway.ftp().await;
    let server = admin(&gateway);
    let end = format!("/sessions/{}/end", session(&gateway).await);
    let page = Request::get("/").send(server).await.body;
    assert!(
        page.contains("href=\"/login\"") && !page.contains(&end),
        "{page}"
    );
    assert!(
        Request::get("/login")
            .send(server)
            .await
            .body
            .contains("type=\"password\"")
    );
    let wrong = log_in(&gateway, "another-token-of-tests").await;
    assert_eq!(wrong.status, 403);
    assert!(wrong.body.contains("the token is wrong") && wrong.header("set-cookie").is_none());
    let foreign = Request::post("/login", &format!("token={TOKEN}"))
        .with("Origin", "http://evil.example")
        .send(server)
        .await;
    assert_eq!(foreign.status, 403);

    let answer = log_in(&gateway, TOKEN).await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("/")));
    let set = answer.header("set-cookie").unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="] {
        assert!(set.contains(part), "{set}");
    }
    assert!(!set.contains(TOKEN), "{set}");
    let cookie = answer.cookie();
    let page = Request::get("/")
        .with("Cookie", cookie)
        .send(server)
        .await
        .body;
    assert!(page.contains(&end) && page.contains("Log out"), "{page}");

    // A request of another site, with the cookie that it can't have: neither with its own origin
    // nor without one.
    let foreign = Request::post(&end, "")
        .with("Cookie", cookie)
        .with("Origin", "http://evil.example");
    assert_eq!(foreign.send(server).await.status, 403);
    let bare = Request::post(&end, "").with("Cookie", cookie);
    assert_eq!(bare.send(server).await.status, 403);
    let forged = cookie.replace('=', "=1");
    let forged = Request::post(&end, "").sent_by_page(server, &forged);
    let forged = forged.send(server).await;
    assert_eq!(
        (forged.status, forged.header("location")),
        (303, Some("/login"))
    );
    ftp.in_step().await;

    let own = Request::post(&end, "")
        .sent_by_page(server, cookie)
        .send(server)
        .await;
    assert_eq!((own.status, own.header("location")), (303, Some("/")));
    ftp.expect_reply(421).await;
    let out = Request::post("/logout", "")
        .sent_by_page(server, cookie)
        .send(server)
        .await;
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    gateway.stop().await;
}
