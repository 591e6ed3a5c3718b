//! Files that change: written in place, replaced by links as Kubernetes does, removed, and secrets.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use s3ftpd::config;
use s3ftpd::events::{Event, EventSink, Kind};
use s3ftpd::server::Server;
use s3ftpd::server::builder::Builder;
use s3ftpd::server::options::ServerOptions;
use s3ftpd::server::reload::{ConfigurationSource, UnusableConfiguration};

use super::{refused, taken};
use test_support::events::Recorder;
use test_support::ftp::Ftp;
use test_support::gateway::{BUCKET, PASSWORD, USER};
use test_support::pattern;
use test_support::settings::{Settings, user_section};
use test_support::store::Store;
use test_support::transfers::upload_in_progress;
use tokio::io::AsyncWriteExt;

/// A server whose configuration is in files.
struct Files {
    directory: tempfile::TempDir,
    store: Store,
    events: Arc<Recorder>,
    server: Option<Server>,
}

#[derive(Debug)]
struct FileSource(PathBuf);

impl ConfigurationSource for FileSource {
    fn load(&self) -> Result<ServerOptions, UnusableConfiguration> {
        config::load(std::slice::from_ref(&self.0)).map_err(|errors| UnusableConfiguration {
            text: errors.to_string(),
            inputs: errors.inputs().clone(),
        })
    }
}

/// The section of a user, whose password is in a file of its own.
fn user(name: &str) -> String {
    format!(
        "[users.{name}]\npassword = {{ file = \"{name}.hash\" }}\nmounts = {{ \"/\" = \"main\" }}\n"
    )
}

fn hash_of(password: &str) -> String {
    let section = user_section("x", password, "{}");
    let line = section.lines().nth(1).unwrap();
    line.split('\'').nth(1).unwrap().to_owned()
}

impl Files {
    /// `main.toml` includes `users.d`, which has what `pieces` says.
    async fn start(pieces: &[(&str, &str)], more: &str) -> Files {
        let store = Store::start(&[BUCKET]).await;
        let directory = tempfile::tempdir().unwrap();
        let mut settings = Settings::least(&store);
        settings.lay("include = [\"users.d\"]\n[reload]\nevery = \"20ms\"");
        settings.lay(more);
        let mut files = Files {
            directory,
            store,
            events: Arc::default(),
            server: None,
        };
        files.write("main.toml", &settings.text());
        for (name, text) in pieces {
            files.write(&format!("users.d/{name}"), text);
        }
        files.begin().await;
        files
    }

    async fn begin(&mut self) {
        let source = Arc::new(FileSource(self.path("main.toml")));
        let mut options = source.load().unwrap_or_else(|errors| panic!("{errors}"));
        options.store_looks.every = std::time::Duration::ZERO;
        let sink: Arc<dyn EventSink> = self.events.clone();
        let builder = Box::pin(Builder::new(options, vec![sink])).await.unwrap();
        let server = Box::pin(builder.follow(source).start()).await.unwrap();
        self.server = Some(server);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes it whole, as tools do.
    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let part = self.path("part");
        std::fs::write(&part, text).unwrap();
        std::fs::rename(part, path).unwrap();
    }

    /// The next event of a reload.
    async fn reloaded(&self) -> Arc<Event> {
        let event = self.events.wait_for(Kind::Reload).await;
        self.events.drain();
        event
    }

    async fn ftp(&self) -> Ftp {
        Ftp::connect(self.server.as_ref().unwrap().control_addresses()[0]).await
    }

    async fn login(&self, user: &str, password: &str) -> u16 {
        let mut ftp = self.ftp().await;
        ftp.expect(&format!("USER {user}"), 331).await;
        let code = ftp.command(&format!("PASS {password}")).await.code;
        ftp.close().await;
        code
    }

    async fn stop(self) {
        if let Some(server) = self.server {
            server.stop().await;
        }
    }
}

#[tokio::test]
async fn files_are_added_changed_and_removed() {
    let files = Files::start(
        &[("v.toml", &user_section("v", "q", "{ \"/\" = \"main\" }"))],
        "",
    )
    .await;
    assert_eq!(files.login("v", "q").await, 230);
    files.write(
        "users.d/w.toml",
        &user_section("w", "q", "{ \"/\" = \"main\" }"),
    );
    taken(&files.reloaded().await, "3 users, 1 added, 0 removed");
    assert_eq!(files.login("w", "q").await, 230);
    files.write(
        "users.d/v.toml",
        &user_section("v", "new", "{ \"/\" = \"main\" }"),
    );
    taken(&files.reloaded().await, "3 users, 0 added, 0 removed");
    assert_eq!(files.login("v", "new").await, 230);
    std::fs::remove_file(files.path("users.d/w.toml")).unwrap();
    taken(&files.reloaded().await, "2 users, 0 added, 1 removed");
    assert_eq!(files.login("w", "q").await, 530);
    // Nothing is left to include: that is an error, and everybody stays.
    std::fs::remove_file(files.path("users.d/v.toml")).unwrap();
    refused(&files.reloaded().await, "has no file *.toml");
    assert_eq!(files.login("v", "new").await, 230);
    files.write("users.d/v.toml", "x = ");
    refused(&files.reloaded().await, "v.toml: line 1");
    assert_eq!(files.login("v", "new").await, 230);
    files.write(
        "users.d/v.toml",
        &user_section("v", "last", "{ \"/\" = \"main\" }"),
    );
    taken(&files.reloaded().await, "2 users, 0 added, 0 removed");
    assert_eq!(files.login("v", "last").await, 230);
    files.stop().await;
}

#[tokio::test]
async fn a_secret_in_a_file_is_followed() {
    let files = Files::start(&[("v.toml", "[groups.none]\n")], "").await;
    let hash = files.path("v.hash");
    std::fs::write(&hash, hash_of("q")).unwrap();
    let section = user("v").replace("v.hash", hash.to_str().unwrap());
    files.write("users.d/v.toml", &section);
    taken(&files.reloaded().await, "1 added");
    assert_eq!(files.login("v", "q").await, 230);
    files.write("v.hash", &hash_of("new"));
    taken(&files.reloaded().await, "0 added");
    assert_eq!(files.login("v", "q").await, 530);
    assert_eq!(files.login("v", "new").await, 230);
    files.stop().await;
}

/// What looks like the loss of half the users by accident needs an operator.
#[tokio::test]
async fn a_poll_does_not_remove_many_users() {
    let users = |count: usize| {
        let hash = hash_of("q");
        let section = |number| {
            format!("[users.v{number}]\npassword = '{hash}'\nmounts = {{ \"/\" = \"main\" }}\n")
        };
        (0..count).map(section).collect::<String>()
    };
    let files = Files::start(&[("v.toml", &users(40))], "").await;
    files.write("users.d/v.toml", &users(30));
    taken(&files.reloaded().await, "31 users, 0 added, 10 removed");
    files.write("users.d/v.toml", &users(19));
    refused(&files.reloaded().await, "it removes 11 of 31 users");
    assert_eq!(files.login("v25", "q").await, 230);
    files.server.as_ref().unwrap().reload();
    taken(&files.reloaded().await, "20 users, 0 added, 11 removed");
    assert_eq!(files.login("v25", "q").await, 530);
    assert_eq!(files.login("v18", "q").await, 230);
    files.stop().await;
}

/// A volume of Kubernetes: files are links into `..data`, a link that is replaced.
struct Volume<'f> {
    files: &'f Files,
    version: u32,
}

impl Volume<'_> {
    fn directory(&self) -> PathBuf {
        self.files.path("users.d")
    }

    /// Replaces all files at once.
    fn swap(&mut self, texts: &[(&str, String)]) {
        self.version += 1;
        let (name, directory) = (format!("..v{}", self.version), self.directory());
        std::fs::create_dir_all(directory.join(&name)).unwrap();
        for (file, text) in texts {
            std::fs::write(directory.join(&name).join(file), text).unwrap();
            let link = directory.join(file);
            if link.symlink_metadata().is_err() {
                symlink(Path::new("..data").join(file), link).unwrap();
            }
        }
        let next = directory.join("..data_tmp");
        symlink(&name, &next).unwrap();
        std::fs::rename(next, directory.join("..data")).unwrap();
        if self.version > 1 {
            let old = directory.join(format!("..v{}", self.version - 1));
            std::fs::remove_dir_all(old).unwrap();
        }
    }
}

/// 200 swaps while files are transferred and users log in: two files always fit together, since each
/// login is under one state.
#[tokio::test]
async fn swaps_break_no_transfer_and_no_login() {
    let mut files = Files::start(&[("v.toml", "[groups.none]\n")], "").await;
    let hash = hash_of("q");
    // A group and its user, in two files. In a mixture the user has no group, or the mount is another.
    let texts = |version: u32| {
        let group = format!("[groups.g{version}]\nattributes = {{ version = \"{version}\" }}\n");
        let user = format!(
            "[users.v]\ngroup = \"g{version}\"\npassword = '{hash}'\nmounts = {{ \"/\" = {{ store = \"main\", bucket = \"{BUCKET}\", prefix = \"{{version}}\" }} }}\n\
             [users.w]\ngroup = \"g{version}\"\npassword = '{hash}'\nmounts = {{ \"/\" = \"main\" }}\n"
        );
        [("group.toml", group), ("user.toml", user)]
    };
    std::fs::remove_file(files.path("users.d/v.toml")).unwrap();
    if let Some(server) = files.server.take() {
        server.stop().await;
    }
    Volume {
        files: &files,
        version: 0,
    }
    .swap(&texts(0));
    files.begin().await;
    let mut volume = Volume {
        files: &files,
        version: 1,
    };
    let mut ftp = files.ftp().await;
    ftp.login("w", "q").await;
    let content = pattern(200 * 1000, 7);
    let mut data = upload_in_progress(&mut ftp, "STOR large", &content[..1000]).await;
    let mut idle = files.ftp().await;
    idle.login("w", "q").await;
    for version in 1..200_u32 {
        volume.swap(&texts(version));
        let piece = version as usize * 1000;
        data.write_all(&content[piece..piece + 1000]).await.unwrap();
        assert_eq!(files.login("v", "q").await, 230);
        idle.expect("NOOP", 200).await;
    }
    data.shutdown().await.unwrap();
    ftp.expect_reply(226).await;
    assert_eq!(files.store.object(BUCKET, "large").unwrap(), content);
    // The last one is taken over.
    let wanted = "199/";
    let last = async {
        loop {
            let mut ftp = files.ftp().await;
            ftp.login("v", "q").await;
            let reply = ftp.store("mark", b"x").await;
            assert_eq!(reply.code, 226);
            if files
                .store
                .object(BUCKET, &format!("{wanted}mark"))
                .is_some()
            {
                return;
            }
        }
    };
    test_support::within("the last swap", last).await;
    for event in files.events.of(Kind::Reload) {
        assert_eq!(event.class, Some(s3ftpd::events::Class::Ok), "{event:#?}");
    }
    assert_eq!(files.login(USER, PASSWORD).await, 230);
    files.stop().await;
}
