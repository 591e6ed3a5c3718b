#![allow(clippy::unwrap_used)]

use super::*;

fn limiter(sessions: [usize; 2], before_login: [usize; 2]) -> Arc<SessionLimiter> {
    Arc::new(SessionLimiter::new(Limits {
        sessions: sessions[0],
        sessions_per_address: sessions[1],
        before_login: before_login[0],
        before_login_per_address: before_login[1],
        sessions_per_user: None,
        login_attempts: 3,
    }))
}

fn enter(limiter: &Arc<SessionLimiter>, address: &str) -> Result<SessionPermit, Refused> {
    limiter.enter(Some(address.parse().unwrap()))
}

fn log_in(limiter: &Arc<SessionLimiter>, address: &str) -> Result<SessionPermit, Refused> {
    let mut permit = enter(limiter, address)?;
    permit.logged_in()?;
    Ok(permit)
}

/// In total, of these without a login, addresses.
fn held(limiter: &SessionLimiter) -> (usize, usize, usize) {
    let held = limiter.held();
    let early = held.early.count();
    assert!(
        held.per_address
            .values()
            .map(|here| here.early)
            .sum::<usize>()
            <= early
    );
    (held.sessions, early, held.per_address.len())
}

#[test]
fn permits_are_counted_and_given_back() {
    let limiter = limiter([3, 2], [4, 4]);
    let first = enter(&limiter, "10.0.0.1").unwrap();
    let _second = enter(&limiter, "::ffff:10.0.0.1").unwrap();
    assert_eq!(
        enter(&limiter, "10.0.0.1").unwrap_err(),
        Refused::AddressFull
    );
    let third = enter(&limiter, "10.0.0.2").unwrap();
    assert_eq!(enter(&limiter, "10.0.0.3").unwrap_err(), Refused::Full);
    drop(first);
    let again = enter(&limiter, "10.0.0.1").unwrap();
    drop(third);
    assert_eq!(held(&limiter), (2, 2, 1), "no address without sessions");
    // A session whose address is not known yet counts, too.
    let mut unknown = limiter.enter(None).unwrap();
    assert_eq!(limiter.enter(None).unwrap_err(), Refused::Full);
    let address = "10.0.0.1".parse().unwrap();
    assert_eq!(unknown.take_for(address), Err(Refused::AddressFull));
    drop(again);
    unknown.take_for(address).unwrap();
    assert_eq!(held(&limiter), (2, 2, 1));
}

#[test]
fn a_network_of_ipv6_is_one_client() {
    let limiter = limiter([10, 1], [10, 10]);
    let _first = enter(&limiter, "2001:db8::1").unwrap();
    assert_eq!(
        enter(&limiter, "2001:db8::2").unwrap_err(),
        Refused::AddressFull
    );
    let _other = enter(&limiter, "2001:db8:0:1::1").unwrap();
}

#[test]
fn a_logged_in_user_takes_no_permit_of_sessions_before_login() {
    let limiter = limiter([9, 9], [2, 1]);
    let first = log_in(&limiter, "10.0.0.1").unwrap();
    let mut second = log_in(&limiter, "10.0.0.1").unwrap();
    let silent = enter(&limiter, "10.0.0.1").unwrap();
    assert_eq!(
        enter(&limiter, "10.0.0.1").unwrap_err(),
        Refused::EarlyAddressFull
    );
    let header = limiter.enter(None).unwrap();
    // One each, and all of them are new.
    assert_eq!(enter(&limiter, "10.0.0.2").unwrap_err(), Refused::EarlyFull);
    // A user who logs out needs a permit before login.
    assert_eq!(second.log_out(), Err(Refused::EarlyAddressFull));
    drop(silent);
    let mut other = log_in(&limiter, "10.0.0.2").unwrap();
    let third = enter(&limiter, "10.0.0.3").unwrap();
    assert_eq!(other.log_out(), Err(Refused::EarlyFull));
    drop((header, third));
    second.log_out().unwrap();
    second.log_out().unwrap();
    assert_eq!(
        enter(&limiter, "10.0.0.1").unwrap_err(),
        Refused::EarlyAddressFull
    );
    drop((first, second, other));
    assert_eq!(held(&limiter), (0, 0, 0));
}

#[test]
fn a_displaced_session_gives_its_permit_to_the_newcomer() {
    let limiter = limiter([4, 9], [3, 9]);
    let ended = |permit: &SessionPermit| permit.ended().is_cancelled();
    let mut member = log_in(&limiter, "10.0.0.9").unwrap();
    let mut hoard = [(); 3].map(|()| enter(&limiter, "10.0.0.1").unwrap());
    assert_eq!(held(&limiter), (4, 3, 2), "all there are");
    let mut newcomer = enter(&limiter, "10.0.0.2").unwrap();
    assert_eq!(held(&limiter), (4, 3, 3));
    assert_eq!(hoard.each_ref().map(ended), [true, false, false]);
    // It is too late for it, and it gives nothing back.
    assert_eq!(hoard[0].logged_in(), Err(Refused::Displaced));
    newcomer.logged_in().unwrap();
    drop((hoard, newcomer));
    assert_eq!(held(&limiter), (1, 0, 1));
    // This also holds for a user who logs out; and a session whose header has arrived belongs to
    // its network.
    let mut hoard = [(); 3].map(|()| limiter.enter(None).unwrap());
    assert_eq!(member.log_out(), Err(Refused::EarlyFull));
    for permit in &mut hoard {
        permit.take_for("10.0.0.1".parse().unwrap()).unwrap();
    }
    member.log_out().unwrap();
    assert_eq!(held(&limiter), (3, 3, 2));
    assert_eq!(hoard.each_ref().map(ended), [true, false, false]);
    assert!(!ended(&member));
    drop((hoard, member));
    assert_eq!(held(&limiter), (0, 0, 0));
}
