//! Limits of users: how many of their transfers run at the same time, how fast they are, how long a
//! session may be idle, and how large a file may be.

mod idle;
mod rates;
mod sizes;
mod transfers;
