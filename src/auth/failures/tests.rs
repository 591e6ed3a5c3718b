#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Addresses are banned after 6, users after 4 failures, for a minute.
fn config() -> LoginFailureOptions {
    LoginFailureOptions {
        delay: SECOND,
        max_delay: 10 * SECOND,
        ban_after: Some(6),
        ban_user_after: Some(4),
        ban_users: BanUsers::PerAddress,
        ban_for: MINUTE,
        table_size: 100,
        exempt: vec!["192.168.0.0/16".parse().unwrap()],
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn the_delay_doubles_for_an_address_and_for_a_name() {
    let failures = Failures::new(config());
    let now = Instant::now();
    let delays: Vec<u64> = ["a", "b", "c", "d", "e"]
        .iter()
        .map(|user| failures.failed_at(ip("10.0.0.1"), user, now).as_secs())
        .collect();
    assert_eq!(delays, [1, 2, 4, 8, 10]);
    // The same name from another address each time.
    let delays: Vec<u64> = (1..=5)
        .map(|host| {
            let address = ip(&format!("10.0.1.{host}"));
            failures.failed_at(address, "anna", now).as_secs()
        })
        .collect();
    assert_eq!(delays, [1, 2, 4, 8, 10]);
    let other = failures.failed_at(ip("10.0.2.1"), "bert", now);
    assert_eq!(other, SECOND, "no other answer is slower for it");
}

#[test]
fn an_address_is_banned_for_its_time_and_no_other() {
    let failures = Failures::new(config());
    let now = Instant::now();
    let address = ip("10.0.0.1");
    for number in 0..6 {
        assert!(!failures.bans_address_at(address, now));
        failures.failed_at(address, &format!("user{number}"), now);
    }
    assert!(failures.bans_address_at(address, now));
    assert!(failures.bans_address_at(ip("::ffff:10.0.0.1"), now));
    assert!(failures.bans_at(address, "unknown", now));
    assert!(!failures.bans_address_at(ip("10.0.0.2"), now));
    // Further attempts do not prolong it.
    failures.failed_at(address, "x", now + 50 * SECOND);
    assert!(failures.bans_address_at(address, now + 59 * SECOND));
    assert!(!failures.bans_address_at(address, now + MINUTE));
    assert!(!failures.bans_at(address, "x", now + MINUTE));
}

#[test]
fn a_network_of_ipv6_is_one_client() {
    let failures = Failures::new(config());
    let now = Instant::now();
    for number in 0..6 {
        let address = ip(&format!("2001:db8:0:1::{number}"));
        failures.failed_at(address, &format!("user{number}"), now);
    }
    assert!(failures.bans_address_at(ip("2001:db8:0:1:ffff::1"), now));
    assert!(!failures.bans_address_at(ip("2001:db8:0:2::1"), now));
}

#[test]
fn a_user_is_banned_at_the_address_of_the_failures() {
    let failures = Failures::new(config());
    let now = Instant::now();
    let (guesser, owner) = (ip("10.0.0.1"), ip("10.0.0.2"));
    for _ in 0..4 {
        assert!(!failures.bans_at(guesser, "anna", now));
        failures.failed_at(guesser, "anna", now);
    }
    assert!(failures.bans_at(guesser, "anna", now));
    assert!(!failures.bans_at(guesser, "bert", now));
    assert!(
        !failures.bans_at(owner, "anna", now),
        "anna is not locked out"
    );
    assert!(!failures.bans_at(guesser, "anna", now + MINUTE));
}

#[test]
fn a_user_is_banned_everywhere_if_configured() {
    let failures = Failures::new(LoginFailureOptions {
        ban_users: BanUsers::Everywhere,
        ..config()
    });
    let now = Instant::now();
    for host in 1..=4 {
        failures.failed_at(ip(&format!("10.0.0.{host}")), "anna", now);
    }
    assert!(failures.bans_at(ip("10.0.9.9"), "anna", now));
    assert!(!failures.bans_at(ip("10.0.9.9"), "bert", now));
    assert!(!failures.bans_at(ip("192.168.1.1"), "anna", now), "exempt");
}

#[test]
fn the_answer_to_a_banned_user_reveals_nothing_about_the_password() {
    let failures = Failures::new(LoginFailureOptions {
        ban_after: None,
        ..config()
    });
    let now = Instant::now();
    let address = ip("10.0.0.1");
    for _ in 0..4 {
        failures.failed_at(address, "anna", now);
    }
    for _ in 0..20 {
        assert_eq!(failures.failed_at(address, "anna", now), 10 * SECOND);
    }
    assert!(failures.bans_at(address, "anna", now + 59 * SECOND));
    assert!(!failures.bans_at(address, "anna", now + MINUTE));
    assert!(
        !failures.bans_address_at(address, now),
        "never, as configured"
    );
}

#[test]
fn the_right_password_of_a_banned_user_bans_no_address_and_a_wrong_one_does() {
    for ban_users in [BanUsers::PerAddress, BanUsers::Everywhere] {
        let failures = Failures::new(LoginFailureOptions {
            ban_users,
            ..config()
        });
        let now = Instant::now();
        let address = ip("10.0.0.1");
        for _ in 0..4 {
            failures.failed_at(address, "anna", now);
        }
        let max_delay = failures.config.max_delay;
        for _ in 0..20 {
            assert_eq!(failures.refused_at(address, "anna", now), max_delay);
        }
        assert!(!failures.bans_address_at(address, now), "{ban_users:?}");
        // The answer does not reveal which it was.
        for _ in 0..2 {
            assert_eq!(failures.failed_at(address, "anna", now), max_delay);
        }
        assert!(failures.bans_address_at(address, now), "{ban_users:?}");
        // A user with the right password who may not log in at another host's address, and is not
        // banned, counts as guessing.
        let other = ip("10.0.0.2");
        for user in ["carl", "carl", "bert", "bert", "dora", "dora"] {
            failures.refused_at(other, user, now);
        }
        assert!(failures.bans_address_at(other, now), "{ban_users:?}");
    }
}

#[test]
fn typing_errors_now_and_then_never_add_up() {
    let failures = Failures::new(config());
    let mut now = Instant::now();
    let address = ip("10.0.0.1");
    for number in 0..1000 {
        let delay = failures.failed_at(address, &format!("user{number}"), now);
        assert_eq!(delay, SECOND);
        now += 11 * SECOND;
    }
    assert!(!failures.bans_address_at(address, now));
    let tables = failures.lock();
    assert!(tables.addresses.len() <= 1, "what is over is forgotten");
}

#[test]
fn a_login_clears_the_user_and_not_the_address() {
    let failures = Failures::new(config());
    let now = Instant::now();
    let address = ip("10.0.0.1");
    for _ in 0..3 {
        failures.failed_at(address, "anna", now);
        failures.succeeded(address, "anna");
        failures.failed_at(address, "bert", now);
    }
    assert!(!failures.bans_at(ip("10.0.0.2"), "anna", now));
    assert!(failures.bans_address_at(address, now));
}

#[test]
fn exempt_clients_are_neither_counted_nor_banned() {
    let failures = Failures::new(config());
    let now = Instant::now();
    for _ in 0..100 {
        let delay = failures.failed_at(ip("192.168.7.7"), "anna", now);
        assert_eq!(delay, SECOND);
    }
    assert!(!failures.bans_at(ip("192.168.7.7"), "anna", now));
    assert!(!failures.bans_address_at(ip("192.168.7.7"), now));
    assert_eq!(failures.failed_at(ip("10.0.0.1"), "anna", now), SECOND);
}

#[test]
fn the_tables_are_bounded_and_bans_outlast_a_flood() {
    let failures = Failures::new(config());
    let now = Instant::now();
    let banned = ip("10.0.0.1");
    for user in ["anna", "anna", "anna", "anna", "bert", "carl"] {
        failures.failed_at(banned, user, now);
    }
    for number in 0..10_000_u32 {
        let address = IpAddr::from(std::net::Ipv4Addr::from(0x0b00_0000 + number));
        failures.failed_at(address, &format!("name{number}"), now);
    }
    {
        let tables = failures.lock();
        assert_eq!(tables.addresses.len(), 100);
        assert_eq!(tables.users.len(), 100);
        assert_eq!(tables.users_at_addresses.len(), 100);
    }
    assert!(failures.bans_address_at(banned, now));
    assert!(failures.bans_at(banned, "anna", now));
    // Full tables count clients that keep trying.
    let persistent = ip("10.0.0.2");
    let later = now + Duration::from_millis(1);
    for number in 0..6_u8 {
        failures.failed_at(persistent, &format!("bert{}", number % 2), later);
        failures.failed_at(IpAddr::from([12, 0, 0, number]), "x", now);
    }
    assert!(failures.bans_address_at(persistent, later));
    failures.bans_address_at(banned, later + MINUTE);
    assert_eq!(
        failures.lock().addresses.len(),
        0,
        "all is forgotten in time"
    );
}
