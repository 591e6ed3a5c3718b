//! `include`: pieces in files and directories.

use std::path::Path;

use super::*;

/// A directory with files; the main file is `main.toml`.
struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Files {
        let files_of = Files(tempfile::tempdir().unwrap());
        for (name, text) in files {
            files_of.write(name, text);
        }
        files_of
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text.replace("HASH", HASH).replace("SECRET", SECRET)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn load(&self, variables: &[(&str, &str)]) -> Result<ServerOptions, ConfigErrors> {
        let variables = variables
            .iter()
            .map(|(name, value)| (name.into(), value.into()));
        load_from(&[self.path("main.toml")], variables)
    }

    /// The errors, without the directory's name.
    fn errors(&self, variables: &[(&str, &str)]) -> Vec<String> {
        let directory = format!("{}/", self.0.path().display());
        let lines = lines(self.load(variables));
        lines
            .iter()
            .map(|line| line.replace(&directory, ""))
            .collect()
    }
}

const MAIN: &str = "include = [\"stores.yaml\", \"users.d\"]\nmemory.budget = \"64MiB\"\n\
                    mounts.scans = { store = \"main\", bucket = \"scans\", prefix = \"{user}/\" }\n";
const STORES: &str = "stores:\n  main:\n    endpoint: http://127.0.0.1:3900\n    access_key_id: AK\n    secret_access_key: SECRET\n";
const USER: &str = "[users.NAME]\npassword = \"HASH\"\nmounts = { \"/\" = \"scans\" }\n";

fn whole() -> Files {
    Files::new(&[
        ("main.toml", MAIN),
        ("stores.yaml", STORES),
        ("users.d/anna.toml", &USER.replace("NAME", "anna")),
        ("users.d/bert.toml", &USER.replace("NAME", "bert")),
        ("users.d/notes.txt", "not a configuration"),
        ("users.d/..2026/x.toml", "not a configuration"),
        ("users.d/.hidden.toml", "not a configuration"),
    ])
}

fn names(config: &ServerOptions) -> Vec<&str> {
    config.users.keys().map(String::as_str).collect()
}

#[test]
fn pieces_make_one_configuration() {
    let files = whole();
    let config = files.load(&[]).unwrap();
    assert_eq!(names(&config), ["anna", "bert"]);
    assert_eq!(
        config.users["bert"].mounts[&VirtualPath::root()].prefix,
        "bert/"
    );
    let read = config
        .inputs
        .files()
        .map(|file| file.strip_prefix(files.0.path()).unwrap());
    let read: Vec<&Path> = read.collect();
    assert_eq!(
        read,
        [
            "main.toml",
            "stores.yaml",
            "users.d/anna.toml",
            "users.d/bert.toml"
        ]
        .map(Path::new)
    );
    assert_eq!(
        config.inputs.directories().collect::<Vec<_>>(),
        [files.path("users.d")]
    );
    // Split up differently it is the same configuration.
    let one = format!(
        "{}{}\n",
        MAIN.split_once('\n').unwrap().1,
        "stores.main = { endpoint = \"http://127.0.0.1:3900\", access_key_id = \"AK\", secret_access_key = \"SECRET\" }"
    );
    let one = Files::new(&[(
        "main.toml",
        &(one + &USER.replace("NAME", "anna") + &USER.replace("NAME", "bert")),
    )]);
    assert_eq!(one.load(&[]).unwrap().hash, config.hash);
}

#[test]
fn pieces_can_include_and_paths_are_relative_to_the_file() {
    let files = whole();
    files.write(
        "users.d/more.toml",
        "include = [\"deep/one.toml\", \"../two.yml\"]\n",
    );
    files.write("users.d/deep/one.toml", &USER.replace("NAME", "carl"));
    files.write("two.yml", "limits:\n  sessions: 7\n");
    let config = files.load(&[]).unwrap();
    assert_eq!(names(&config), ["anna", "bert", "carl"]);
    assert_eq!(config.limits.sessions, 7);
}

#[test]
fn the_environment_comes_last_and_can_name_the_pieces() {
    let files = whole();
    let config = files
        .load(&[("S3FTPD__USERS__ANNA__SESSIONS", "3")])
        .unwrap();
    assert_eq!(config.users["anna"].sessions, Some(3));
    let (stores, anna) = (files.path("stores.yaml"), files.path("users.d/anna.toml"));
    let include = format!("{},{}", stores.display(), anna.display());
    let config = files.load(&[("S3FTPD__INCLUDE", &include)]).unwrap();
    assert_eq!(names(&config), ["anna"]);
}

#[test]
fn what_is_defined_twice_names_both_files() {
    for (text, key) in [
        (USER.replace("NAME", "anna"), "users.anna"),
        ("users.anna.sessions = 3".to_owned(), "users.anna"),
        (
            "[mounts.scans]\nstore = \"main\"\nbucket = \"bbb\"".to_owned(),
            "mounts.scans",
        ),
        ("memory.budget = \"65MiB\"".to_owned(), "memory.budget"),
        ("memory = 1".to_owned(), "memory"),
    ] {
        let files = whole();
        files.write("users.d/zoe.toml", &text);
        let found = files.errors(&[]);
        let other = if key == "users.anna" {
            "users.d/anna.toml"
        } else {
            "main.toml"
        };
        assert_eq!(
            found,
            [format!(
                "users.d/zoe.toml: {key}: is defined in {other} too; allowed: one definition"
            )],
            "{text}"
        );
    }
}

#[test]
fn every_piece_that_is_wrong_is_named() {
    let files = whole();
    files.write("users.d/a.toml", "x = ");
    files.write("users.d/b.toml", "unknown = 1");
    files.write("users.d/c.yaml", "users: [");
    std::fs::create_dir(files.path("users.d/d.toml")).unwrap();
    let found = files.errors(&[]);
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].starts_with("users.d/a.toml: line 1"), "{found:?}");
    assert!(found[1].starts_with("users.d/c.yaml: line 2"), "{found:?}");
    assert!(
        found[2].starts_with("users.d/d.toml: can't be read"),
        "{found:?}"
    );
    let files = whole();
    files.write(
        "users.d/b.toml",
        "unknown = 1\n[users.anna2]\npassword = \"HASH\"\nmounts = { \"/\" = \"scan\" }",
    );
    let found = files.errors(&[]);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(
        found
            .iter()
            .all(|line| line.starts_with("users.d/b.toml: ")),
        "{found:?}"
    );
}

#[test]
fn an_include_that_leads_nowhere_is_an_error() {
    for (include, problem) in [
        ("[\"none.d\"]", "none.d: can't be read"),
        ("[\"none.toml\"]", "none.toml: can't be read"),
        (
            "[\"empty.d\"]",
            "the directory empty.d has no file *.toml, *.yaml or *.yml",
        ),
        (
            "\"users.d\"",
            "main.toml: include: is a string; allowed: a list of files and directories",
        ),
        ("[1]", "main.toml: include: has a number"),
        ("[\"\"]", "main.toml: include: has a string"),
        ("[\"main.toml\"]", "is defined in main.toml too"),
        (
            "[\"users.d\", \"users.d/anna.toml\"]",
            "users.d/anna.toml is included twice",
        ),
        ("[\"loop.toml\"]", "loop.toml is included twice"),
    ] {
        let files = whole();
        std::fs::create_dir(files.path("empty.d")).unwrap();
        files.write("empty.d/..data/x.toml", "x = 1");
        files.write("loop.toml", "include = [\"loop.toml\"]");
        let (_, rest) = MAIN.split_once('\n').unwrap();
        files.write("main.toml", &format!("include = {include}\n{rest}"));
        let found = files.errors(&[]);
        assert!(
            found.iter().any(|line| line.contains(problem)),
            "{include}: {found:#?}"
        );
    }
}

/// The directory of a Kubernetes Secret: links to files in `..data`, itself a link.
#[test]
fn a_mounted_secret_can_be_included() {
    let files = whole();
    std::fs::remove_dir_all(files.path("users.d")).unwrap();
    files.write("users.d/..2026_12/anna.toml", &USER.replace("NAME", "anna"));
    for (target, link) in [("..2026_12", "..data"), ("..data/anna.toml", "anna.toml")] {
        std::os::unix::fs::symlink(target, files.path("users.d").join(link)).unwrap();
    }
    assert_eq!(names(&files.load(&[]).unwrap()), ["anna"]);
}
