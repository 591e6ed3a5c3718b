#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::*;
use crate::auth::options::WeakHashes;

const AUTH: AuthOptions = AuthOptions {
    weak_hashes: WeakHashes::Warn,
    cache: Duration::from_secs(60),
};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// `password`, `password` again and `Hello world!`, as cheap as the kinds allow.
const HASHES: [(&str, &str, &str); 3] = [
    (
        "anna",
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "password",
    ),
    (
        "bert",
        "$2a$04$UuTkLRZZ6QofpDOlMz32MuuxEHA43WOemOYHPz6.SjsVsyO1tDU96",
        "password",
    ),
    (
        "carl",
        "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
        "Hello world!",
    ),
];

/// An authenticator and its accounts.
#[derive(Debug)]
struct Logins {
    authenticator: Authenticator,
    accounts: Accounts,
}

impl Logins {
    fn new(users: &BTreeMap<String, Arc<UserOptions>>, budget: Budget) -> Logins {
        let accounts = Accounts::new(users);
        Logins {
            authenticator: Authenticator::new(&accounts, &AUTH, budget),
            accounts,
        }
    }

    async fn verify(
        &self,
        user: &str,
        password: &SecretString,
        address: IpAddr,
        heard: impl FnOnce() -> bool,
    ) -> Result<Verified, AuthError> {
        let accounts = &self.accounts;
        let verifying = self
            .authenticator
            .verify(accounts, user, password, address, heard);
        verifying.await
    }

    fn logged_in_recently(&self, user: &str, password: &SecretString) -> Option<Arc<UserOptions>> {
        let authenticator = &self.authenticator;
        authenticator.logged_in_recently(&self.accounts, user, password)
    }

    fn decoy(&self, name: &str) -> Option<&accounts::Account> {
        self.accounts.decoy(name, &self.authenticator.chooser)
    }
}

impl std::ops::Deref for Logins {
    type Target = Authenticator;

    fn deref(&self) -> &Authenticator {
        &self.authenticator
    }
}

impl std::ops::DerefMut for Logins {
    fn deref_mut(&mut self) -> &mut Authenticator {
        &mut self.authenticator
    }
}

fn authenticator() -> Logins {
    with_budget(Budget::new(64 << 20))
}

fn with_budget(budget: Budget) -> Logins {
    let user = |(name, hash, _): (&str, &str, &str)| {
        let user = UserOptions {
            password: Some(SecretString::from(hash)),
            ..UserOptions::new(name)
        };
        (name.to_owned(), Arc::new(user))
    };
    Logins::new(&HASHES.into_iter().map(user).collect(), budget)
}

#[tokio::test]
async fn the_right_password_only() {
    let authenticator = authenticator();
    for (name, _, password) in HASHES {
        let user = authenticator
            .verify(name, &password.into(), HERE, || true)
            .await
            .unwrap();
        assert_eq!(user.user.name, name);
        for wrong in ["", "Password", "password ", "Hello world"] {
            let refused = authenticator
                .verify(name, &wrong.into(), HERE, || true)
                .await;
            assert_eq!(
                refused.unwrap_err(),
                AuthError::Refused,
                "{name}, {wrong:?}"
            );
        }
    }
}

#[tokio::test]
async fn no_login_waits_for_transfers_unless_the_budget_is_tiny() {
    // Each of these hashes is charged with 1 MiB.
    for (budget, at_once) in [(64, 8), (8, 1), (2, 1)] {
        let cores = 16;
        assert_eq!(
            set_aside(&Budget::new(budget << 20), 1 << 20, cores),
            Some(at_once)
        );
    }
    for (budget, waits) in [(2, false), (1, true)] {
        let budget = Budget::new(budget << 20);
        let mut authenticator = with_budget(budget.clone());
        authenticator.patience = Duration::ZERO;
        let password = "password".into();
        let verify = || authenticator.verify("bert", &password, HERE, || true);
        let held = budget.grant(1 << 20, Duration::ZERO).await.unwrap();
        match verify().await {
            Ok(_) => assert!(!waits),
            Err(error) => assert_eq!((error, waits), (AuthError::Memory, true)),
        }
        drop(held);
        verify().await.unwrap();
        assert_eq!(budget.in_use(), 0);
    }
}

#[tokio::test]
async fn beyond_what_is_set_aside_it_is_what_transfers_leave() {
    let budget = Budget::new(8 << 20);
    let mut authenticator = with_budget(budget.clone());
    authenticator.cores = Arc::new(Semaphore::new(4));
    authenticator.patience = Duration::ZERO;
    let aside = Arc::clone(&authenticator.aside.as_ref().unwrap().permits);
    let _another = aside.try_acquire_owned().unwrap();
    let password = "password".into();
    let verify = || authenticator.verify("bert", &password, HERE, || true);
    verify().await.unwrap();
    let transfers = budget.grant(7 << 20, Duration::ZERO).await.unwrap();
    assert_eq!(verify().await.unwrap_err(), AuthError::Busy);
    drop(transfers);
    verify().await.unwrap();
    assert_eq!(budget.in_use(), 0);
}

#[tokio::test]
async fn an_unknown_user_is_refused_even_with_the_password_of_the_decoy() {
    let authenticator = authenticator();
    for unknown in ["", "ANNA", "anna ", "root"] {
        for password in ["password", "Hello world!"] {
            let refused = authenticator
                .verify(unknown, &password.into(), HERE, || true)
                .await;
            assert_eq!(refused.unwrap_err(), AuthError::Refused);
        }
    }
}

#[test]
fn unknown_names_cost_what_known_ones_cost() {
    let authenticator = authenticator();
    let mut seen = BTreeSet::new();
    for number in 0..200 {
        let name = format!("unknown{number}");
        let decoy = &authenticator.decoy(&name).unwrap().user.name;
        assert_eq!(
            decoy,
            &authenticator.decoy(&name).unwrap().user.name,
            "the same each time"
        );
        seen.insert(decoy.clone());
    }
    assert_eq!(
        seen.len(),
        HASHES.len(),
        "every kind of hash stands in for some name"
    );
}

#[tokio::test]
async fn busy_when_no_core_becomes_free() {
    let mut authenticator = authenticator();
    authenticator.patience = Duration::ZERO;
    let all = u32::try_from(authenticator.cores.available_permits()).unwrap();
    let held = authenticator.cores.acquire_many(all).await.unwrap();
    let busy = authenticator
        .verify("anna", &"password".into(), HERE, || true)
        .await;
    assert_eq!(busy.unwrap_err(), AuthError::Busy);
    drop(held);
}

#[tokio::test]
async fn a_banned_client_takes_no_core() {
    let authenticator = authenticator();
    let unheard = authenticator
        .verify("anna", &"password".into(), HERE, || false)
        .await;
    assert_eq!(unheard.unwrap_err(), AuthError::Unheard);
}

#[tokio::test]
async fn without_users_every_login_is_refused() {
    let authenticator = Logins::new(&BTreeMap::new(), Budget::new(64 << 20));
    assert_eq!(
        authenticator
            .verify("anna", &"x".into(), HERE, || true)
            .await
            .unwrap_err(),
        AuthError::Refused
    );
}

#[test]
fn debug_shows_no_hash() {
    let shown = format!("{:?}", authenticator());
    for (_, hash, _) in HASHES {
        assert!(!shown.contains(hash), "{shown}");
    }
}

#[tokio::test]
async fn a_repeated_login_waits_for_no_core_and_no_memory() {
    let mut authenticator = with_budget(Budget::new(1 << 20));
    authenticator.patience = Duration::ZERO;
    let password = "password".into();
    assert!(
        authenticator
            .logged_in_recently("bert", &password)
            .is_none()
    );
    let verified = authenticator
        .verify("bert", &password, HERE, || true)
        .await
        .unwrap();
    // Only a login that succeeds is remembered.
    assert!(
        authenticator
            .logged_in_recently("bert", &password)
            .is_none()
    );
    authenticator.remember(verified.ticket);
    let _cores = Arc::clone(&authenticator.cores)
        .acquire_many_owned(u32::try_from(authenticator.cores.available_permits()).unwrap())
        .await
        .unwrap();
    let user = authenticator.logged_in_recently("bert", &password);
    assert_eq!(user.unwrap().name, "bert");
    assert_eq!(authenticator.recent_hits(), 1);
    for (name, password) in [
        ("bert", "Password"),
        ("bert", ""),
        // The same password, of another user and of none.
        ("anna", "password"),
        ("unknown", "password"),
        ("Bert", "password"),
    ] {
        let user = authenticator.logged_in_recently(name, &password.into());
        assert!(user.is_none(), "{name}, {password:?}");
    }
    assert_eq!(authenticator.recent_hits(), 1);
}

/// As after a reload that keeps the memory of logins.
#[tokio::test]
async fn a_changed_user_has_no_recent_login() {
    type Change = fn(&mut UserOptions);
    let changes: [(bool, Change); 8] = [
        (false, |user| user.disabled = true),
        (false, |user| user.next_password = Some(HASHES[0].1.into())),
        (false, |user| user.comment = Some("changed".to_owned())),
        (true, |_| {}),
        (false, |user| user.password = Some(HASHES[0].1.into())),
        (false, |user| user.sessions = Some(7)),
        (false, |user| user.lenient_close = true),
        (false, |user| {
            user.tls.control = Some(crate::tls::options::Protection::Required)
        }),
    ];
    for (number, (kept, change)) in changes.into_iter().enumerate() {
        let mut authenticator = authenticator();
        let password = "password".into();
        let verify = authenticator.verify("bert", &password, HERE, || true);
        authenticator.remember(verify.await.unwrap().ticket);
        let mut user = UserOptions::clone(authenticator.accounts.user("bert").unwrap());
        change(&mut user);
        let users = BTreeMap::from([("bert".to_owned(), Arc::new(user))]);
        authenticator.accounts = Accounts::new(&users);
        let found = authenticator.logged_in_recently("bert", &"password".into());
        assert_eq!(found.is_some(), kept, "change {number}");
    }
}

#[tokio::test]
async fn without_time_no_login_is_remembered() {
    let options = AuthOptions {
        cache: Duration::ZERO,
        ..AUTH
    };
    let mut authenticator = authenticator();
    authenticator.authenticator =
        Authenticator::new(&authenticator.accounts, &options, Budget::new(64 << 20));
    let password = "password".into();
    let verify = authenticator.verify("bert", &password, HERE, || true);
    authenticator.remember(verify.await.unwrap().ticket);
    assert!(
        authenticator
            .logged_in_recently("bert", &password)
            .is_none()
    );
}
