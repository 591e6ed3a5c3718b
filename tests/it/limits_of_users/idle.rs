//! `idle`: how long a session of the user may be without a command.

use test_support::gateway::{Gateway, PASSWORD};

#[tokio::test]
async fn a_users_own_time_replaces_that_of_all() {
    let mounts = "{ \"/\" = \"main\" }";
    let gateway = Gateway::builder()
        .with("[timeouts]\nidle = \"400ms\"")
        .with("[groups.patient]\nidle = \"1h\"\n[users.u]\ngroup = \"patient\"")
        .user("v", PASSWORD, mounts)
        .user("hasty", PASSWORD, mounts)
        .with("[users.hasty]\nidle = \"50ms\"")
        .start()
        .await;
    let mut patient = gateway.ftp().await;
    let mut usual = gateway.ftp_as("v", PASSWORD).await;
    let mut hasty = gateway.ftp_as("hasty", PASSWORD).await;
    for ftp in [&mut hasty, &mut usual] {
        let reply = ftp.expect_reply(421).await;
        assert!(reply.text().contains("No command within"), "{reply:?}");
        ftp.expect_end().await;
    }
    patient.in_step().await;
    patient.close().await;
    gateway.stop().await;
}
