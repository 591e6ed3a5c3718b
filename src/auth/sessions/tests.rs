#![allow(clippy::unwrap_used)]

use super::*;

fn places(sessions: [usize; 2], before_login: [usize; 2]) -> Arc<SessionPlaces> {
    Arc::new(SessionPlaces::new(Limits {
        sessions: sessions[0],
        sessions_per_address: sessions[1],
        before_login: before_login[0],
        before_login_per_address: before_login[1],
        sessions_per_user: None,
        login_attempts: 3,
    }))
}

fn enter(places: &Arc<SessionPlaces>, address: &str) -> Result<SessionPlace, Refused> {
    places.enter(Some(address.parse().unwrap()))
}

fn log_in(places: &Arc<SessionPlaces>, address: &str) -> Result<SessionPlace, Refused> {
    let mut place = enter(places, address)?;
    place.logged_in()?;
    Ok(place)
}

/// In all, of these without a login, addresses.
fn held(places: &SessionPlaces) -> (usize, usize, usize) {
    let held = places.held();
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
fn places_are_counted_and_given_back() {
    let places = places([3, 2], [4, 4]);
    let first = enter(&places, "10.0.0.1").unwrap();
    let _second = enter(&places, "::ffff:10.0.0.1").unwrap();
    assert_eq!(
        enter(&places, "10.0.0.1").unwrap_err(),
        Refused::AddressFull
    );
    let third = enter(&places, "10.0.0.2").unwrap();
    assert_eq!(enter(&places, "10.0.0.3").unwrap_err(), Refused::Full);
    drop(first);
    let again = enter(&places, "10.0.0.1").unwrap();
    drop(third);
    assert_eq!(held(&places), (2, 2, 1), "no address without sessions");
    // Of whom nothing is known yet counts, too.
    let mut unknown = places.enter(None).unwrap();
    assert_eq!(places.enter(None).unwrap_err(), Refused::Full);
    let address = "10.0.0.1".parse().unwrap();
    assert_eq!(unknown.take_for(address), Err(Refused::AddressFull));
    drop(again);
    unknown.take_for(address).unwrap();
    assert_eq!(held(&places), (2, 2, 1));
}

#[test]
fn a_network_of_ipv6_is_one_client() {
    let places = places([10, 1], [10, 10]);
    let _first = enter(&places, "2001:db8::1").unwrap();
    assert_eq!(
        enter(&places, "2001:db8::2").unwrap_err(),
        Refused::AddressFull
    );
    let _other = enter(&places, "2001:db8:0:1::1").unwrap();
}

#[test]
fn who_is_in_takes_no_place_from_those_before_login() {
    let places = places([9, 9], [2, 1]);
    let first = log_in(&places, "10.0.0.1").unwrap();
    let mut second = log_in(&places, "10.0.0.1").unwrap();
    let silent = enter(&places, "10.0.0.1").unwrap();
    assert_eq!(
        enter(&places, "10.0.0.1").unwrap_err(),
        Refused::EarlyAddressFull
    );
    let header = places.enter(None).unwrap();
    // One each, and all of them have just come.
    assert_eq!(enter(&places, "10.0.0.2").unwrap_err(), Refused::EarlyFull);
    // Who leaves needs one.
    assert_eq!(second.log_out(), Err(Refused::EarlyAddressFull));
    drop(silent);
    let mut other = log_in(&places, "10.0.0.2").unwrap();
    let third = enter(&places, "10.0.0.3").unwrap();
    assert_eq!(other.log_out(), Err(Refused::EarlyFull));
    drop((header, third));
    second.log_out().unwrap();
    second.log_out().unwrap();
    assert_eq!(
        enter(&places, "10.0.0.1").unwrap_err(),
        Refused::EarlyAddressFull
    );
    drop((first, second, other));
    assert_eq!(held(&places), (0, 0, 0));
}

#[test]
fn one_that_makes_room_gives_all_of_its_place_to_the_newcomer() {
    let places = places([4, 9], [3, 9]);
    let ended = |place: &SessionPlace| place.ended().is_cancelled();
    let mut member = log_in(&places, "10.0.0.9").unwrap();
    let mut hoard = [(); 3].map(|()| enter(&places, "10.0.0.1").unwrap());
    assert_eq!(held(&places), (4, 3, 2), "all there are");
    let mut newcomer = enter(&places, "10.0.0.2").unwrap();
    assert_eq!(held(&places), (4, 3, 3));
    assert_eq!(hoard.each_ref().map(ended), [true, false, false]);
    // It is too late for it, and it gives back nothing more.
    assert_eq!(hoard[0].logged_in(), Err(Refused::Displaced));
    newcomer.logged_in().unwrap();
    drop((hoard, newcomer));
    assert_eq!(held(&places), (1, 0, 1));
    // So it is for one who leaves; and one whose header has come belongs to its network.
    let mut hoard = [(); 3].map(|()| places.enter(None).unwrap());
    assert_eq!(member.log_out(), Err(Refused::EarlyFull));
    for place in &mut hoard {
        place.take_for("10.0.0.1".parse().unwrap()).unwrap();
    }
    member.log_out().unwrap();
    assert_eq!(held(&places), (3, 3, 2));
    assert_eq!(hoard.each_ref().map(ended), [true, false, false]);
    assert!(!ended(&member));
    drop((hoard, member));
    assert_eq!(held(&places), (0, 0, 0));
}
