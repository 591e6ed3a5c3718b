//! The calls of hooks: how they ended, and the events that were lost.

use tokio::io::AsyncWriteExt;

use test_support::ftp::Mode;
use test_support::gateway::{Builder, Gateway};
use test_support::receiver::{Reaction, Receiver, allow, refuse};
use test_support::transfers::begin;

use super::{Scrape, with_admin};

const CALLS: &str = "s3ftpd_hook_calls_total";
const LOST: &str = "s3ftpd_hook_events_lost_total";

fn asking(receiver: &Receiver, on_failure: &str) -> Builder {
    let url = receiver.url();
    with_admin().with(&format!(
        "[before_publish]\nurl = \"{url}\"\ntimeout = \"300ms\"\non_failure = \"{on_failure}\""
    ))
}

fn hooked(receiver: &Receiver, settings: &str) -> Builder {
    let url = receiver.url();
    let hook = format!("[events.billing]\nurl = \"{url}\"\non = [\"upload\"]\n{settings}");
    with_admin().with(&hook)
}

/// Waits until the hook has one call with this result, and no other.
async fn one_call(gateway: &Gateway, hook: &str, result: &str) -> Scrape {
    let of = [("hook", hook), ("result", result)];
    let what = format!("a call that is {result}");
    let scrape = Scrape::until(gateway, &what, |scrape| scrape.sum(CALLS, &of) > 0.0).await;
    scrape.is(CALLS, &[], 1.0);
    scrape
}

fn answer(status: u16, body: &str) -> Reaction {
    Reaction::Answer(status, body.to_owned())
}

/// Each way in which a check ends, whatever becomes of an upload without an answer.
#[tokio::test]
async fn a_check_is_counted_by_how_it_ended() {
    for (reaction, result, codes) in [
        (allow(), "ok", [226, 226]),
        (refuse("no"), "refused", [550, 550]),
        (answer(500, ""), "error", [451, 226]),
        (answer(200, "yes"), "error", [451, 226]),
        (Reaction::Silence, "timeout", [451, 226]),
        (Reaction::Trickle, "timeout", [451, 226]),
        (Reaction::Reset, "unreachable", [451, 226]),
    ] {
        for (on_failure, code) in ["closed", "open"].into_iter().zip(codes) {
            let receiver = Receiver::start().await;
            receiver.react(reaction.clone());
            let gateway = asking(&receiver, on_failure).start().await;
            // Prometheus sees no increase in a series that begins with 1.
            let before = Scrape::of(&gateway).await;
            assert_eq!(before.samples[CALLS].len(), 6, "{before:?}");
            before.is(CALLS, &[("hook", "before_publish")], 0.0);
            let reply = gateway.ftp().await.store("x", b"bytes").await;
            assert_eq!(reply.code, code, "{reaction:?}: {reply:?}");
            one_call(&gateway, "before_publish", result).await;
        }
    }
}

/// If each client gives up before the URL times out, the calls are seen all the same.
#[tokio::test]
async fn a_check_whose_client_leaves_is_cancelled() {
    let receiver = Receiver::start().await;
    receiver.react(Reaction::Silence);
    let gateway = asking(&receiver, "closed")
        .with("[before_publish]\ntimeout = \"10m\"")
        .start()
        .await;
    let mut ftp = gateway.ftp().await;
    let mut data = begin(&mut ftp, "STOR x", Mode::Passive).await;
    data.write_all(b"bytes").await.unwrap();
    data.shutdown().await.unwrap();
    receiver.called(1).await;
    ftp.reset();
    one_call(&gateway, "before_publish", "cancelled").await;
}

#[tokio::test]
async fn a_delivery_is_counted_by_how_it_ended() {
    for (reaction, result, lost) in [
        (answer(204, ""), "ok", 0.0),
        (answer(404, ""), "refused", 1.0),
        (answer(302, ""), "refused", 1.0),
        // No further attempt: the event is too old by then.
        (answer(503, ""), "error", 1.0),
        (answer(429, ""), "error", 1.0),
        (Reaction::Silence, "timeout", 1.0),
        (Reaction::Reset, "unreachable", 1.0),
    ] {
        let receiver = Receiver::start().await;
        receiver.react(reaction.clone());
        let settings = "timeout = \"100ms\"\nretry_for = \"1ms\"";
        let gateway = hooked(&receiver, settings).start().await;
        let before = Scrape::of(&gateway).await;
        assert_eq!(before.samples[LOST].len(), 1, "{before:?}");
        before.is(LOST, &[("hook", "events.billing")], 0.0);
        assert_eq!(gateway.ftp().await.store("x", b"x").await.code, 226);
        one_call(&gateway, "events.billing", result).await;
        let enough = |scrape: &Scrape| scrape.sum(LOST, &[]) >= lost;
        let scrape = Scrape::until(&gateway, "the lost events", enough).await;
        scrape.is(LOST, &[("hook", "events.billing")], lost);
    }
}

#[tokio::test]
async fn a_full_queue_counts_what_it_loses() {
    let receiver = Receiver::start().await;
    receiver.react(Reaction::Silence);
    let settings = "timeout = \"10m\"\nqueue = 2";
    let gateway = hooked(&receiver, settings).start().await;
    let mut ftp = gateway.ftp().await;
    for _ in 0..9 {
        assert_eq!(ftp.store("x", b"x").await.code, 226);
    }
    // Four are on their way, and two wait.
    let enough = |scrape: &Scrape| scrape.sum(LOST, &[]) >= 3.0;
    let scrape = Scrape::until(&gateway, "the lost events", enough).await;
    scrape.is(LOST, &[("hook", "events.billing")], 3.0);
}
