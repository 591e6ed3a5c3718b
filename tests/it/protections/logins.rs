//! Failed logins, and commands before the login.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{first_reply, greeted, refused};
use test_support::ftp::Ftp;
use test_support::gateway::{BUCKET, Builder, Gateway, PASSWORD, USER};
use test_support::within;

const ONE: &str = "127.0.0.1";
const OTHER: &str = "127.0.0.2";
const BANNED: &str = "Too many failed logins from your address";

/// With these settings of `[login_failures]`, and any number of attempts for each connection.
fn with_failures(settings: &str) -> Builder {
    Gateway::builder().with(&format!(
        "[limits]\nlogin_attempts = 1000\n[login_failures]\n{settings}"
    ))
}

/// Fails to log in; returns the reply.
async fn fail(ftp: &mut Ftp, user: &str, password: &str) -> String {
    ftp.expect(&format!("USER {user}"), 331).await;
    let refused = ftp.expect(&format!("PASS {password}"), 530).await;
    String::from_utf8(refused.raw).unwrap()
}

#[tokio::test]
async fn a_wrong_user_and_a_wrong_password_get_the_same_answer() {
    let gateway = Gateway::start().await;
    let mut refusals = Vec::new();
    for (user, password) in [
        (USER, "wrong"),
        ("unknown", PASSWORD),
        (USER, ""),
        ("U", PASSWORD),
    ] {
        let mut ftp = Ftp::connect(gateway.address).await;
        let asked = ftp.expect(&format!("USER {user}"), 331).await;
        let refused = ftp.expect(&format!("PASS {password}"), 530).await;
        // The login starts over with USER.
        ftp.expect(&format!("PASS {PASSWORD}"), 503).await;
        ftp.expect("PWD", 530).await;
        ftp.in_step().await;
        ftp.close().await;
        refusals.push((asked.raw, refused.raw));
    }
    assert!(
        refusals.iter().all(|refusal| *refusal == refusals[0]),
        "{refusals:?}"
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_to_failures_are_delayed_more_each_time_and_delay_no_other_client() {
    let gateway =
        with_failures("delay = \"100ms\"\nmax_delay = \"5s\"\nban_after = 0\nban_user_after = 0")
            .start()
            .await;
    let mut guesser = greeted(ONE, gateway.address).await;
    for (number, user) in ["u", "unknown", "u", "v"].into_iter().enumerate() {
        let begun = Instant::now();
        fail(&mut guesser, user, "wrong").await;
        let least = Duration::from_millis(100 << number);
        assert!(begun.elapsed() >= least, "{user}: {:?}", begun.elapsed());
    }
    // The next answer waits for 1.6 s. In the meantime other clients log in, from elsewhere and
    // from there, also as the same user.
    guesser.expect("USER u", 331).await;
    guesser.send("PASS wrong").await;
    for from in [OTHER, ONE] {
        let login = async {
            let mut ftp = greeted(from, gateway.address).await;
            ftp.login(USER, PASSWORD).await;
        };
        tokio::select! {
            biased;
            reply = guesser.reply() => panic!("{from} was held up until {reply:?}"),
            () = login => {}
        }
    }
    guesser.expect_reply(530).await;
    guesser.login(USER, PASSWORD).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_is_banned_and_no_other() {
    let gateway = with_failures("delay = 0\nban_after = 4\nban_for = \"1h\"")
        .start()
        .await;
    let mut early = greeted(ONE, gateway.address).await;
    // Counted over connections and users.
    for user in ["a", "b", "c", "u"] {
        let mut ftp = greeted(ONE, gateway.address).await;
        fail(&mut ftp, user, "wrong").await;
    }
    refused(ONE, gateway.address, BANNED).await;
    // An existing session gets no further either.
    early.expect("USER u", 331).await;
    let reply = early.expect(&format!("PASS {PASSWORD}"), 421).await;
    assert_eq!(reply.text(), format!("{BANNED}, try again later"));
    early.expect_end().await;
    let mut other = greeted(OTHER, gateway.address).await;
    other.login(USER, PASSWORD).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_is_not_revealed_and_does_not_lock_the_user_out_elsewhere() {
    let gateway = with_failures(
        "delay = 0\nmax_delay = 0\nban_after = 0\nban_user_after = 3\nban_for = \"1h\"",
    )
    .user("v", "p", "{ \"/\" = \"main\" }")
    .start()
    .await;
    let mut guesser = greeted(ONE, gateway.address).await;
    let mut answers = Vec::new();
    for password in ["1", "2", "3", "4", PASSWORD, "5", PASSWORD] {
        answers.push(fail(&mut guesser, USER, password).await);
    }
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
    guesser.login("v", "p").await;
    let mut owner = greeted(OTHER, gateway.address).await;
    owner.login(USER, PASSWORD).await;
    gateway.stop().await;
}

/// The exact delays are tested with a clock (`auth::failures`).
#[tokio::test(flavor = "multi_thread")]
async fn a_ban_ends() {
    for kind in [
        "ban_user_after = 0\nban_after = 2",
        "ban_user_after = 2\nban_after = 0",
    ] {
        let settings = format!("delay = 0\nmax_delay = 0\nban_for = \"1s\"\n{kind}");
        let gateway = with_failures(&settings).start().await;
        // However slow the machine is, at some time two failures fall into one second.
        within("a ban", async {
            loop {
                let (reply, mut ftp) = first_reply(ONE, gateway.address).await;
                if reply.code == 421 {
                    return;
                }
                for password in ["1", "2"] {
                    ftp.expect(&format!("USER {USER}"), 331).await;
                    ftp.command(&format!("PASS {password}")).await;
                }
                ftp.expect(&format!("USER {USER}"), 331).await;
                let right = ftp.command(&format!("PASS {PASSWORD}")).await;
                if right.code != 230 {
                    return;
                }
            }
        })
        .await;
        within("the end of the ban", async {
            loop {
                let mut ftp = greeted(ONE, gateway.address).await;
                ftp.expect(&format!("USER {USER}"), 331).await;
                if ftp.command(&format!("PASS {PASSWORD}")).await.code == 230 {
                    return;
                }
            }
        })
        .await;
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_banned_everywhere_if_configured() {
    let gateway = with_failures("delay = 0\nmax_delay = 0\nban_user_after = 3\nban_users = \"everywhere\"\nexempt = [\"127.0.0.9/32\"]")
        .start()
        .await;
    for from in ["127.0.0.2", "127.0.0.3", "127.0.0.4"] {
        fail(&mut greeted(from, gateway.address).await, USER, "wrong").await;
    }
    fail(
        &mut greeted("127.0.0.5", gateway.address).await,
        USER,
        PASSWORD,
    )
    .await;
    // An exempt address is never banned, and cannot get others banned.
    let mut exempt = greeted("127.0.0.9", gateway.address).await;
    for _ in 0..30 {
        fail(&mut exempt, "v", "wrong").await;
    }
    exempt.login(USER, PASSWORD).await;
    gateway.stop().await;
}

/// A client elsewhere gets a user banned. The user's own devices continue with the right password,
/// and their network, which others share, must not be banned for it.
#[tokio::test(flavor = "multi_thread")]
async fn the_ban_of_a_user_does_not_become_one_of_their_network() {
    let gateway = with_failures(
        "delay = 0\nmax_delay = 0\nban_after = 5\nban_user_after = 3\nban_users = \"everywhere\"",
    )
    .user("v", "p", "{ \"/\" = \"main\" }")
    .start()
    .await;
    let mut stranger = greeted(OTHER, gateway.address).await;
    for password in ["1", "2", "3"] {
        fail(&mut stranger, USER, password).await;
    }
    for _ in 0..6 {
        let mut device = Ftp::connect(gateway.address).await;
        fail(&mut device, USER, PASSWORD).await;
    }
    gateway.ftp_as("v", "p").await;
    gateway.stop().await;
}

/// Guesses sent all at once are counted before they are answered, and those after the ban take no
/// core from other clients.
#[tokio::test(flavor = "multi_thread")]
async fn many_guesses_at_once_gain_nothing() {
    let slow = bcrypt::hash(PASSWORD, 8).unwrap();
    let gateway = with_failures("delay = 0\nmax_delay = 0\nban_after = 5")
        .with(&format!("[users.u]\npassword = '{slow}'"))
        .start()
        .await;
    let mut clients = Vec::new();
    for _ in 0..60 {
        let mut ftp = greeted(ONE, gateway.address).await;
        ftp.expect("USER u", 331).await;
        clients.push(ftp);
    }
    let guesses = clients
        .into_iter()
        .map(async |mut ftp: Ftp| ftp.command("PASS wrong").await.code);
    let codes = futures::future::join_all(guesses).await;
    let answered = codes.iter().filter(|code| **code == 530).count();
    let banned = codes.iter().filter(|code| **code == 421).count();
    // Five, and those that were being checked when the ban came: as many as there are cores, or a
    // few more.
    let cores = std::thread::available_parallelism().unwrap().get();
    assert!((5..=10 + 5 * cores).contains(&answered), "{answered}");
    assert_eq!(answered + banned, 60, "{codes:?}");
    refused(ONE, gateway.address, BANNED).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_delayed_answers() {
    let gateway = with_failures("delay = \"1m\"\nmax_delay = \"1m\"")
        .start()
        .await;
    let mut ftp = greeted(ONE, gateway.address).await;
    ftp.expect("USER u", 331).await;
    ftp.send("PASS wrong").await;
    within("the stop", gateway.stop()).await;
    ftp.expect_reply(421).await;
    ftp.expect_end().await;
}

/// The shortest time of some failures: a slow one by chance does not count.
async fn least_time(ftp: &mut Ftp, user: &str, password: &str) -> Duration {
    let mut least = Duration::MAX;
    for _ in 0..6 {
        ftp.expect(&format!("USER {user}"), 331).await;
        let begun = Instant::now();
        ftp.expect(&format!("PASS {password}"), 530).await;
        least = least.min(begun.elapsed());
    }
    least
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_takes_the_time_of_a_wrong_password() {
    let slow = bcrypt::hash(PASSWORD, 9).unwrap();
    let gateway = with_failures("delay = 0\nmax_delay = 0\nban_after = 0\nban_user_after = 3")
        .user("v", "p", "{ \"/\" = \"main\" }")
        .with(&format!(
            "[users.u]\npassword = '{slow}'\n[users.v]\npassword = '{slow}'\n\
             [hosts.\"v.example.com\"]\nusers = [\"v\"]"
        ))
        .start()
        .await;
    // The server remembers a login of the user elsewhere, and does not answer from it.
    let mut remembered = greeted(OTHER, gateway.address).await;
    remembered.login("u", PASSWORD).await;
    let mut ftp = greeted(ONE, gateway.address).await;
    let wrong = least_time(&mut ftp, "u", "wrong").await;
    let banned = least_time(&mut ftp, "u", PASSWORD).await;
    let unknown = least_time(&mut ftp, "unknown", "wrong").await;
    let mut elsewhere = greeted(OTHER, gateway.address).await;
    elsewhere.expect("HOST v.example.com", 220).await;
    let of_another_host = least_time(&mut elsewhere, "u", PASSWORD).await;
    // Without the hash they would take a hundredth of it; other tests in parallel make it up to
    // three times as long.
    for time in [banned, unknown, of_another_host] {
        assert!(
            time * 10 > wrong && wrong * 10 > time,
            "{time:?}, {wrong:?}"
        );
    }
    gateway.stop().await;
}

/// Each command that needs a user.
#[tokio::test]
async fn before_the_login_no_command_has_an_effect() {
    let gateway = Gateway::start().await;
    gateway.store.put(BUCKET, "x", "1");
    gateway.store.reset_counts();
    for named in [false, true] {
        let mut ftp = Ftp::connect(gateway.address).await;
        if named {
            ftp.expect("USER u", 331).await;
        }
        for line in [
            "ACCT x",
            "CWD /",
            "XCWD /",
            "CDUP",
            "XCUP",
            "PWD",
            "XPWD",
            "MKD d",
            "XMKD d",
            "RMD d",
            "XRMD d",
            "TYPE I",
            "MODE S",
            "STRU F",
            "PASV",
            "EPSV",
            "EPSV ALL",
            "PORT 127,0,0,1,200,1",
            "EPRT |1|127.0.0.1|50001|",
            "RETR x",
            "STOR y",
            "STOU",
            "APPE x",
            "ALLO 1",
            "REST 1",
            "LIST",
            "NLST",
            "MLSD",
            "MLST x",
            "STAT",
            "STAT x",
            "SIZE x",
            "MDTM x",
            "MFMT 20200101000000 x",
            "MDTM 20200101000000 x",
            "MFF modify=20200101000000; x",
            "DELE x",
            "RNFR x",
            "RNTO y",
            "OPTS MLST type;",
            "SITE CHMOD 644 x",
        ] {
            ftp.expect(line, 530).await;
        }
        ftp.in_step().await;
        // Commands that report nothing of users' files are answered.
        for (line, code) in [
            ("FEAT", 211),
            ("HELP", 214),
            ("SYST", 215),
            ("OPTS UTF8 ON", 200),
            ("CLNT x", 200),
            ("SITE HELP", 214),
        ] {
            ftp.expect(line, code).await;
        }
        ftp.close().await;
    }
    assert!(gateway.store.requests().is_empty());
    gateway.stop().await;
}

/// REST and RNFR are of no use to another user or another command.
#[tokio::test]
async fn a_stale_rest_or_rnfr_has_no_effect() {
    let gateway = Gateway::builder()
        .user("v", "p", "{ \"/\" = \"main\" }")
        .start()
        .await;
    gateway.store.put(BUCKET, "x", "0123456789");
    let mut ftp = gateway.ftp().await;
    ftp.expect("RNTO y", 503).await;
    for between in ["PWD", "REIN", "USER v", "RNFR none", "REST 1"] {
        ftp.expect("RNFR x", 350).await;
        ftp.command(between).await;
        let refused = ftp.command("RNTO y").await.code;
        assert!(matches!(refused, 503 | 530), "{between}: {refused}");
        if refused == 530 {
            ftp.login("v", "p").await;
            ftp.expect("RNTO y", 503).await;
        }
    }
    for between in ["PWD", "REIN", "USER v"] {
        ftp.expect("REST 5", 350).await;
        ftp.command(between).await;
        if between != "PWD" {
            ftp.login("v", "p").await;
        }
        assert_eq!(ftp.retrieve("x").await.0, b"0123456789", "{between}");
    }
    assert_eq!(gateway.store.keys(BUCKET), ["x"]);
    gateway.stop().await;
}

/// A right password leads to no delay and to no ban, so nothing else slows down a client that sends
/// it again and again.
#[tokio::test(flavor = "multi_thread")]
async fn one_account_on_many_connections_delays_its_own_address_only() {
    let hash = bcrypt::hash(PASSWORD, 11).unwrap();
    let gateway = Gateway::builder()
        .with(&format!(
            "[limits]\nsessions_before_login_per_address = 2000\n\
             [auth]\ncache = 0\n\
             [users.slow]\npassword = '{hash}'\nmounts = {{ \"/\" = \"main\" }}"
        ))
        .start()
        .await;
    let cores = std::thread::available_parallelism().unwrap().get();
    let many = 12 * cores;
    let mut flood = Vec::new();
    for _ in 0..many {
        let mut ftp = greeted(ONE, gateway.address).await;
        ftp.expect("USER slow", 331).await;
        flood.push(ftp);
    }
    // Ready before the flood: on a busy machine a connection takes its time.
    let mut other = greeted(OTHER, gateway.address).await;
    other.expect(&format!("USER {USER}"), 331).await;
    for ftp in &mut flood {
        ftp.send(&format!("PASS {PASSWORD}")).await;
    }
    let answered = Arc::new(AtomicUsize::new(0));
    let (first, began) = oneshot::channel();
    let mut first = Some(first);
    for mut ftp in flood {
        let (answered, first) = (Arc::clone(&answered), first.take());
        tokio::spawn(async move {
            ftp.reply_or_end().await;
            answered.fetch_add(1, Ordering::SeqCst);
            if let Some(first) = first {
                let _ = first.send(());
            }
        });
    }
    within("the first of them", began).await.unwrap();
    other.expect(&format!("PASS {PASSWORD}"), 230).await;
    let before = answered.load(Ordering::SeqCst);
    assert!(before < many / 2, "{before} of {many} went before");
    gateway.stop().await;
}
