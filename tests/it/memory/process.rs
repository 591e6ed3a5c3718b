//! The memory and the open files of a process of its own, seen from outside.

use futures::{StreamExt, stream};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use test_support::faults::Fault;
use test_support::ftp::{Ftp, Mode, reset_stream};
use test_support::process::Process;
use test_support::transfers::{begin, moved, narrow_data};
use test_support::{MIB, pattern};

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_writes_no_file() {
    let process = Process::start("[transfer]\npart_size = \"5MiB\"").await;
    let mut ftp = process.ftp().await;
    let bytes = pattern(21 * MIB, 1);
    let rule = process
        .store
        .fail("CompleteMultipartUpload")
        .with(Fault::Stall);
    let looked = async {
        rule.hit().await;
        // The object is complete, and no byte of it is in a file, not even in an unlinked one.
        let found = (process.open_files(), directory(&process));
        rule.release();
        found
    };
    let (reply, (files, names)) = tokio::join!(ftp.store("f", &bytes), looked);
    assert_eq!(reply.code, 226, "{reply:?}");
    assert_eq!((files, names), (vec![], vec![]));
    assert!(process.store.object("files", "f") == Some(bytes));
    assert_eq!(directory(&process), [""; 0]);
}

fn directory(process: &Process) -> Vec<String> {
    let entries = std::fs::read_dir(process.temporary.path()).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_hold_at_most_the_budget() {
    let settings = "[transfer]\npart_size = \"5MiB\"\n[memory]\nbudget = \"20MiB\"";
    let process = Process::start(settings).await;
    let mut ftp = process.ftp().await;
    assert_eq!(ftp.store("first", b"1").await.code, 226);
    let before = process.peak();
    let bytes = pattern(12 * MIB, 1);
    let uploads = (0..12).map(async |number: usize| {
        let mut ftp = process.ftp().await;
        let command = format!("STOR f{number}");
        let reply = ftp.upload_with(&command, &bytes, Mode::Passive).await;
        assert_eq!(reply.code, 226, "{reply:?}");
    });
    futures::future::join_all(uploads).await;
    let grown = process.peak() - before;
    // 144 MiB went through it. In addition to the budget there are the buffers of its connections
    // and the allocator's overhead.
    assert!(grown < 56 * MIB, "grown by {} MiB", grown / MIB);
}

/// A signed payload is a copy in one piece: an upload that is being saved is held only once in
/// spite of it.
#[tokio::test(flavor = "multi_thread")]
async fn tails_with_a_signed_payload_are_held_once() {
    let settings = "[transfer]\npart_size = \"5MiB\"\n[memory]\nbudget = \"64MiB\"";
    let signed = "export S3FTPD__STORES__MAIN__SIGN_PAYLOAD=true";
    let process = Process::start_under(signed, "info", settings).await;
    let tails = process.store.fail("PutObject").key(".s3ftpd/tails/");
    let tails = tails.always().with(Fault::Stall);
    let bytes = pattern(4_900_000, 1);
    let uploads = (0..9).map(async |number: usize| {
        let mut ftp = process.ftp().await;
        let command = format!("STOR f{number}");
        let mut data = begin(&mut ftp, &command, Mode::Passive).await;
        data.write_all(&bytes).await.unwrap();
        moved(&mut ftp, bytes.len()).await;
        (ftp, data)
    });
    let uploads = futures::future::join_all(uploads).await;
    let before = process.peak();
    let sessions = uploads.into_iter().map(|(ftp, data)| {
        reset_stream(data);
        ftp
    });
    let _sessions: Vec<_> = sessions.collect();
    tails.hit_times(9).await;
    let grown = process.peak() - before;
    // Held twice they are 59 MB. The allocator returns freed memory some seconds later.
    assert!(grown < 48 * MIB, "grown by {} MiB", grown / MIB);
}

/// Logs in on `at_once` connections, `logins` times on each: with the right password, a wrong one,
/// a name that does not exist.
async fn log_in(process: &Process, at_once: usize, logins: usize) {
    let clients = (0..at_once).map(async |client: usize| {
        for number in 0..logins {
            let (user, password, code) = match (client + number) % 3 {
                0 => ("argon", "right", 230),
                1 => ("argon", "wrong", 530),
                _ => ("unknown", "wrong", 530),
            };
            let mut ftp = Ftp::connect(process.address).await;
            ftp.expect(&format!("USER {user}"), 331).await;
            let reply = ftp.command(&format!("PASS {password}")).await;
            // On a busy machine some of them time out before they get a core.
            assert!(reply.code == code || reply.code == 421, "{reply:?}");
            ftp.close().await;
        }
    });
    futures::future::join_all(clients).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn password_checks_give_their_memory_back() {
    let hash = s3ftpd::auth::hash_password(&"right".into()).unwrap();
    let settings = format!(
        "[login_failures]\nexempt = [\"127.0.0.0/8\"]\n[auth]\ncache = 0\n\
         [users.argon]\npassword = '{hash}'\nmounts = {{ \"/\" = \"main\" }}"
    );
    let process = Process::start(&settings).await;
    process.ftp().await.close().await;
    let before = process.resident();
    log_in(&process, 1, 12).await;
    log_in(&process, 16, 3).await;
    // Each check needs 19 MiB, and as many run in parallel as there are cores.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let grown = process.peak() - before;
    assert!(
        grown < (cores * 19 + 32) * MIB,
        "grown by {} MiB",
        grown / MIB
    );
    process.shrinks_to(before + 32 * MIB).await;
}

/// The smallest budget for parts of 5 MiB, and what the process may hold.
const SMALL_BUDGET: &str = "[transfer]\npart_size = \"5MiB\"\n[memory]\nbudget = \"20MiB\"";
const SMALL_LIMIT: usize = (20 + 64) * MIB;

/// Asks for a listing on a data connection that is never read; returns the server's reply.
async fn unread_listing(process: &Process, command: &str) -> (Ftp, TcpStream, u16) {
    let mut ftp = process.ftp().await;
    let data = narrow_data(&mut ftp).await;
    let code = ftp.command(command).await.code;
    (ftp, data, code)
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_listings_hold_memory_of_the_budget_only() {
    let limit = (40 + 64) * MIB;
    // A listing without memory is refused after the time for a data connection.
    let settings = "[transfer]\npart_size = \"5MiB\"\n[memory]\nbudget = \"40MiB\"\n\
                    [timeouts]\ndata_connect = \"5s\"";
    let process = Process::start(settings).await;
    let name = "n".repeat(900);
    for number in 0..2100 {
        let key = format!("d/{number:04}{name}");
        process.store.put("files", &key, "");
    }
    let commands = ["MLSD d", "LIST d", "NLST d/*"].iter().cycle();
    let listings = commands
        .take(40)
        .map(|command| unread_listing(&process, command));
    // As many in parallel as there are passive ports.
    let listings: Vec<_> = stream::iter(listings).buffer_unordered(16).collect().await;
    // A client that cannot be served is refused before the 150.
    for (.., code) in &listings {
        assert!(matches!(code, 150 | 450), "{code}");
    }
    let peak = process.peak();
    assert!(peak < limit, "{} MiB", peak / MIB);
    // A client that reads gets its whole listing while they are open.
    let mut ftp = process.ftp().await;
    let (text, reply) = ftp.list("NLST d").await;
    assert_eq!((text.lines().count(), reply.code), (2100, 226));
    for (ftp, data, _) in listings {
        reset_stream(data);
        ftp.reset();
    }
    let peak = process.peak();
    assert!(peak < limit, "{} MiB", peak / MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_downloads_hold_memory_of_the_budget_only() {
    let process = Process::start(SMALL_BUDGET).await;
    process.ftp().await.close().await;
    let before = process.resident();
    process.store.put("files", "f", pattern(30 * MIB, 1));
    let downloads = (0..80).map(async |_| {
        let mut ftp = process.ftp().await;
        let data = narrow_data(&mut ftp).await;
        let code = ftp.command("RETR f").await.code;
        assert!(matches!(code, 150 | 450), "{code}");
        (ftp, data)
    });
    let downloads: Vec<_> = stream::iter(downloads).buffer_unordered(16).collect().await;
    // As long as it takes to serve a client that reads.
    let (bytes, reply) = process.ftp().await.retrieve("f").await;
    assert_eq!((bytes.len(), reply.code), (30 * MIB, 226));
    let peak = process.peak();
    assert!(peak < SMALL_LIMIT, "{} MiB", peak / MIB);
    for (ftp, data) in downloads {
        reset_stream(data);
        ftp.reset();
    }
    process.shrinks_to(before + 32 * MIB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_uploads_hold_memory_of_the_budget_only_and_give_it_back() {
    let process = Process::start(SMALL_BUDGET).await;
    process.ftp().await.close().await;
    let before = process.resident();
    let bytes = pattern(6 * MIB, 1);
    let uploads = (0..24).map(async |number: usize| {
        let mut ftp = process.ftp().await;
        let reply = ftp.store(&format!("f{number}"), &bytes).await;
        assert!(matches!(reply.code, 226 | 450), "{reply:?}");
    });
    futures::future::join_all(uploads).await;
    let peak = process.peak();
    assert!(peak < SMALL_LIMIT, "{} MiB", peak / MIB);
    process.shrinks_to(before + 32 * MIB).await;
}
