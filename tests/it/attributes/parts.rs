//! Part size and parallelism of a mount.

use test_support::gateway::{BUCKET, Gateway};
use test_support::{MIB, pattern};

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_has_its_own_part_size() {
    let gateway = Gateway::builder()
        .mount("part_size = \"8MiB\"\nupload_parallel = 1")
        .add_mount("other", "other", "")
        .user("u", "p", "{ \"/\" = \"main\", \"/other\" = \"other\" }")
        .start()
        .await;
    let mut ftp = gateway.ftp().await;
    for (path, bytes, parts) in [
        ("/a", 8 * MIB, 0),
        ("/a", 17 * MIB, 3),
        ("/other/a", 8 * MIB, 2),
        ("/other/a", 17 * MIB, 4),
    ] {
        gateway.store.reset_counts();
        let bytes = pattern(bytes, 1);
        assert_eq!(ftp.store(path, &bytes).await.code, 226);
        assert_eq!(gateway.store.count("UploadPart"), parts, "{path}");
    }
    assert!(gateway.store.object(BUCKET, "a").unwrap().len() == 17 * MIB);
    ftp.close().await;
    gateway.stop().await;
}
