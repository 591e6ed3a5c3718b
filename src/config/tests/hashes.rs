//! Which hashes of passwords the configuration takes.

use super::*;
use crate::auth::options::WeakHashes;

const WEAK: &str = "$1$abcd1234$rHRYPu3ZwPZEmH9jHfHS/0";

fn bert(hash: &str) -> String {
    format!("users.bert = {{ password = '{hash}', mounts = {{ '/' = 'scans' }} }}\n")
}

#[test]
fn weak_hashes_are_taken_or_refused() {
    for (more, expected) in [
        ("", WeakHashes::Warn),
        ("auth.weak_hashes = 'warn'\n", WeakHashes::Warn),
        ("auth.weak_hashes = 'allow'\n", WeakHashes::Allow),
    ] {
        let config = with(&format!("{more}{}", bert(WEAK))).unwrap();
        assert_eq!(config.auth.weak_hashes, expected);
        assert!(config.users.contains_key("bert"));
    }
    let refuse = "auth.weak_hashes = 'refuse'\n";
    assert!(with(refuse).is_ok());
    let found = lines(with(&format!("{refuse}{}", bert(WEAK))));
    assert_eq!(
        found,
        [
            "test.toml: users.bert.password: is a weak hash: $1$; allowed: another kind of hash, or auth.weak_hashes = \"warn\""
        ]
    );
    check(
        "auth.weak_hashes = 'never' => auth.weak_hashes: \"never\" is unknown | \"warn\", \"refuse\", \"allow\"",
    );
    check("auth.week_hashes = 'warn' => auth.week_hashes: unknown key, did you mean weak_hashes?");
}

#[test]
fn a_hash_that_the_machine_or_the_server_can_not_check_is_an_error_that_does_not_quote_it() {
    let yescrypt = "$6lh6W8rKHWchQqqDhh13G1$Qrt.s34C.EMNadzJ2z2ddMQ3rlG5Ikgbd8Ozx5r.to/";
    for (hash, pieces) in [
        // 64 MiB and a little, with a budget of 64 MiB.
        (
            format!("$y$jBT{yescrypt}"),
            ["this hash needs 66608 KiB", "memory.budget"],
        ),
        (
            format!("$y$jGT{yescrypt}"),
            ["128 × N × r = 2147483648", "at most 1073741824"],
        ),
        (
            format!("$y$jAT{yescrypt}x"),
            ["damaged yescrypt", "yescrypt ($y$)"],
        ),
        (
            "$2b$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW".to_owned(),
            ["cost = 31", "at most 16"],
        ),
        (
            "$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW".to_owned(),
            ["$2x$", "set a new password"],
        ),
    ] {
        let found = lines(with(&bert(&hash)));
        let [line] = found.as_slice() else {
            panic!("{hash}: {found:#?}")
        };
        assert!(
            line.starts_with("test.toml: users.bert.password: "),
            "{line}"
        );
        for piece in pieces {
            assert!(line.contains(piece), "{line} lacks {piece}");
        }
        assert!(
            !line.contains("Qrt.s34C") && !line.contains("CCCC"),
            "{line}"
        );
    }
    assert!(with(&bert(&format!("$y$jAT{yescrypt}"))).is_ok());
}

#[test]
fn recent_logins_count_for_a_minute_at_most() {
    assert_eq!(with("").unwrap().auth.cache, Duration::from_secs(60));
    assert_eq!(with("auth.cache = 0").unwrap().auth.cache, Duration::ZERO);
    check("auth.cache = '61s' => auth.cache: it is out of range | at most 60 s");
}
