//! Options from files and from the environment.

mod program;

use program::Home;

#[test]
fn a_node_is_started_from_a_file_and_reached_through_the_environment() {
    let home = Home::new();
    let file = "name = \"n1\"\nlisten = \"127.0.0.1:0\"\nalone = true\nwindow = 4\njournal-limit = \"64M\"\nmark-every = 0.5\n";
    std::fs::write(home.path("n1.toml"), file).unwrap();
    let node = home.start(&["--config", "n1.toml", "--data", "folder"]);
    assert!(home.path("folder").is_dir(), "what is typed counts, too");
    let with = |words: &[&str], variables: &[(&str, &str)]| {
        let mut command = home.synod(words);
        command.envs(variables.iter().copied());
        program::Ran::from(command.output().expect("the program runs"))
    };
    let there = ("SYNOD_CONNECT", node.address.as_str());
    assert!(with(&["put", "k", "v"], &[there]).done().starts_with("done at "));
    assert_eq!(with(&["get", "k", "--json"], &[there]).objects()[0]["value"], "v");
    assert_eq!(with(&["get", "k"], &[there, ("SYNOD_JSON", "yes")]).objects()[0]["value"], "v");
    with(&["get", "k"], &[there, ("SYNOD_JSON", "maybe")]).failed(2, "--json");
    let told = with(&["get", "k"], &[there, ("SYNOD_DEADLINE", "soon")]).failed(2, "--deadline");
    assert!(told.contains("(with SYNOD_DEADLINE)"), "{told}");
    let told = with(&["slot", "first"], &[there]).failed(2, "is not a slot");
    assert!(!told.contains("(with"), "the variable has nothing to do with it: {told}");

    // So are a node's own options.
    let told = with(&["start", "--config", "n1.toml"], &[("SYNOD_SNAPSHOT_EVERY", "1K")]);
    assert!(told.failed(2, "`1K` is too small: at least 1M").contains("with SYNOD_SNAPSHOT_EVERY"));

    // A variable without a value is none.
    let none = [there, ("SYNOD_CONFIG", ""), ("SYNOD_JSON", ""), ("SYNOD_DEADLINE", "")];
    assert_eq!(with(&["get", "k"], &none).done(), "v\n");

    // What is typed wins over the environment, and that over the file.
    std::fs::write(home.path("client.toml"), "connect = [\"127.0.0.1:1\"]\ndeadline = 0.2\njson = true\n").unwrap();
    let file = ("SYNOD_CONFIG", "client.toml");
    with(&["get", "k"], &[file]).failed(1, "127.0.0.1:1");
    assert_eq!(with(&["get", "k"], &[file, there]).objects()[0]["value"], "v");
    assert_eq!(with(&["get", "k", "--connect", &node.address], &[file]).objects()[0]["value"], "v");
    with(&["get", "k", "--connect", "127.0.0.1:1"], &[there, ("SYNOD_DEADLINE", "0.2")]).failed(1, "127.0.0.1:1");
}

#[test]
fn a_mistake_in_a_file_is_told_with_its_place() {
    let home = Home::new();
    let refused = |file: &str, because: &str| {
        std::fs::write(home.path("node.toml"), file).unwrap();
        let told = home.run(&["start", "--config", "node.toml"]).failed(2, because);
        assert!(told.contains("node.toml"), "{told}");
    };
    refused("name = \"n1\"\nlissten = \"127.0.0.1:0\"\n", "line 2: 'lissten' is no option of `synod start`");
    refused("name = \"n1\"\nlisten = \"nowhere\"\n", "--listen");
    refused("name = \"n1\"\nwindow = 0\n", "--window");
    refused("name = \"n1\"\njournal-limit = 65536\n", "`65536` is too small: at least 4M");
    refused("name = \"n1\"\nalone = true\npeer = [\"n2=127.0.0.1:7102\"]\n", "--alone");
    refused("name = \n", "line 1: ");
    refused("\"\\u001b[31m\" = 1\n", "'\\u{1b}[31m' is no option");
    std::fs::write(home.path("large.toml"), vec![b'#'; (1 << 20) + 1]).unwrap();
    home.run(&["start", "--config", "large.toml"]).failed(2, "longer than 1048576 bytes");
    home.run(&["start", "--config", "missing.toml"]).failed(2, "cannot read missing.toml");
    home.run(&["get", "k", "--config"]).failed(2, "--config");
}
