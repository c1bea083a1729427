//! What shells and `man` are given: it works where no home is, and makes none.
#![expect(clippy::unwrap_used, reason = "a test says with a panic what is wrong")]

use std::process::{Command, Output};

use tempfile::TempDir;

/// Runs the program, or a shell that knows it as `knothole`, without any home of the person's who runs this.
fn run(program: &str, arguments: &[&str]) -> (TempDir, Output) {
    let person = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    for variable in ["KNOTHOLE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
        command.env_remove(variable);
    }
    let output = command.args(arguments).env("HOME", person.path()).current_dir(person.path()).output().unwrap();
    (person, output)
}

const KNOTHOLE: &str = env!("CARGO_BIN_EXE_knothole");

#[test]
fn bash_completes_verbs_and_arguments() {
    let script = "source <(\"$0\" completions bash)
        complete() { COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _knothole knothole \"${@: -1}\" \"${@: -2:1}\"; echo \"${COMPREPLY[*]}\"; }
        complete knothole se; complete knothole send bob --wa; complete knothole send bob --wait ''; complete knothole completions z";
    let (person, output) = run("bash", &["-c", script, KNOTHOLE]);
    let told = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines, ["send", "--wait", "sent delivered read", "zsh"], "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(person.path().read_dir().unwrap().count(), 0, "no home is made");
}

#[test]
fn the_manual_is_printed_or_written_into_a_directory() {
    let (person, output) = run(KNOTHOLE, &["man"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(page.contains(".TH knothole 1") && page.contains("knothole\\-send(1)"), "{page}");
    assert_eq!(person.path().read_dir().unwrap().count(), 0);

    let (person, output) = run(KNOTHOLE, &["man", "--dir", "share/man/man1"]);
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    let verbs = page.matches("\nknothole\\-").count();
    let pages = person.path().join("share/man/man1");
    assert!(pages.read_dir().unwrap().count() > verbs && verbs > 20, "{verbs}");
    let page = std::fs::read_to_string(pages.join("knothole-passphrase-set.1")).unwrap();
    assert!(page.contains("knothole passphrase set"), "{page}");

    let (_person, output) = run(KNOTHOLE, &["man", "--dir", "/dev/null/man"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), told.lines().count()), (Some(1), 1), "{told}");
    assert!(told.contains("choose a directory of yours"), "{told}");
}
