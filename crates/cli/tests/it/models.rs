//! `kinvert models`, and `--model` with a published name.

use std::path::Path;
use std::process::Command;

use kinvert_testkit::hub::{FakeHub, Files, files_of, hash_of};
use kinvert_testkit::server::Reply;

use crate::support::*;

const NAME: &str = "maker/sprites";
const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

/// The files of the built-in model, and some that nobody needs.
fn sprites() -> Files {
    let mut files = files_of(&built_in_model());
    files.insert("README.md".into(), b"# Sprites".to_vec());
    files
}

/// The program, asking this hub.
fn online<const N: usize>(arguments: [&str; N], hub: &FakeHub, home: &Path) -> Command {
    let mut command = program(arguments);
    command
        .env("HF_HOME", home)
        .env("HF_ENDPOINT", hub.endpoint())
        .env("HF_HUB_OFFLINE", "0")
        .env("NO_PROXY", "127.0.0.1");
    command
}

/// The program with the same cache, but off the network.
fn offline<const N: usize>(arguments: [&str; N], home: &Path) -> Outcome {
    let mut command = program(arguments);
    Outcome::of(&command.env("HF_HOME", home).output().unwrap())
}

fn run(command: &mut Command) -> Outcome {
    Outcome::of(&command.output().unwrap())
}

#[test]
fn a_published_model_is_fetched_by_its_name_and_used() {
    let (hub, folder) = (FakeHub::start(NAME, sprites()), temp());
    let (clip, out) = (bounce(), folder.path().join("out"));
    let home = folder.path().join("hub");
    let mut command = online(
        [
            "transfer",
            &clip,
            "--model",
            NAME,
            "--sampling-steps",
            "1",
            "--prompt",
            "a blue star",
        ],
        &hub,
        &home,
    );
    command.args(QUICK).args(["--json", "--out", text(&out)]);
    let outcome = run(&mut command)
        .ended(0)
        .saying(&["note: fetching maker/sprites"]);
    assert_eq!(outcome.json()["model"]["name"], "sprites");
    assert!(!outcome.stderr.contains("hf_secret"));
    let asked = hub.api.requests().len();
    assert!(asked > 10);
    assert!(
        hub.api
            .requests()
            .iter()
            .all(|request| !request.path.contains("clip/"))
    );

    let again = [
        "generate",
        "--model",
        NAME,
        "--steps",
        "1",
        "--prompt",
        "x",
        "-o",
        text(&out),
    ];
    run(&mut online(again, &hub, &home)).ended(0);
    offline(again, &home).ended(0);
    assert_eq!(
        hub.api.requests().len(),
        asked,
        "what is there is not asked for"
    );
}

#[test]
fn a_model_is_pulled_listed_inspected_and_verified() {
    let (hub, folder) = (FakeHub::start(NAME, sprites()), temp());
    let home = folder.path();
    let pull = ["models", "pull", NAME, "--json"];
    let pulled = run(&mut online(pull, &hub, home)).ended(0).json();
    assert_eq!(
        (&pulled["name"], &pulled["revision"]),
        (&NAME.into(), &"main".into())
    );
    assert_eq!(pulled["bytes"], pulled["fetched_bytes"]);
    let path = Path::new(pulled["path"].as_str().unwrap());
    assert!(path.starts_with(home) && path.join(UNET).is_file());
    assert!(!path.join("README.md").exists());
    let again = run(&mut online(pull, &hub, home)).ended(0).json();
    assert_eq!(again["fetched_bytes"], 0);

    let list = offline(["models", "list"], home).ended(0).stdout;
    assert!(list.contains("maker/sprites\n  revision  main ("), "{list}");
    assert!(list.contains("\n  files     complete\n"), "{list}");
    let json = offline(["models", "--json"], home).ended(0).json();
    assert_eq!(json[1]["name"], NAME);

    let told = offline(["models", "inspect", NAME], home).ended(0).stdout;
    assert!(told.contains("UNet3DConditionModel: "), "{told}");
    let json = offline(["models", "inspect", NAME, "--json"], home)
        .ended(0)
        .json();
    assert_eq!(json["model"]["name"], "sprites");
    assert_eq!(json["networks"][0]["part"], "unet");
    assert_eq!(json["networks"][0]["dtypes"], serde_json::json!(["F16"]));
    assert!(json["networks"][0]["parameters"].as_u64().unwrap() > 100_000);

    let told = offline(["models", "verify", NAME], home).ended(0).stdout;
    assert!(
        told.contains("right     unet: the weights fit UNet3DConditionModel"),
        "{told}"
    );
    assert!(!told.contains("wrong"), "{told}");
    let blob = home
        .join("hub/models--maker--sprites/blobs")
        .join(hash_of(UNET, &sprites()[UNET]));
    change_file(&blob, |bytes| *bytes.last_mut().unwrap() ^= 1);
    std::fs::remove_file(path.join("tokenizer/merges.txt")).unwrap();
    let outcome = offline(["models", "verify", NAME, "--json"], home).ended(1);
    let json = outcome.json();
    let files = json["files"].as_array().unwrap();
    let unet = files.iter().find(|file| file["file"] == UNET).unwrap();
    assert!(
        unet["fault"].as_str().unwrap().contains("its hash is"),
        "{unet}"
    );
    assert_eq!(json["missing"], serde_json::json!(["tokenizer/merges.txt"]));
}

#[test]
fn a_folder_is_verified_too() {
    let folder = temp();
    let model = model_copy(folder.path());
    let told = offline(["models", "verify", text(&model)], folder.path())
        .ended(0)
        .stdout;
    assert!(told.contains("unknown   model_index.json"), "{told}");
    offline(["models", "inspect", text(&model)], folder.path()).ended(0);
    replace_in_file(&model.join("vae/config.json"), "    48,", "    72,");
    change_file(&model.join(UNET), |bytes| bytes.truncate(1000));
    let told = offline(["models", "verify", text(&model)], folder.path())
        .ended(1)
        .saying(&["2 faults"])
        .stdout;
    assert!(
        told.contains("wrong     unet:") && told.contains("wrong     vae:"),
        "{told}"
    );
}

#[test]
fn what_cannot_be_fetched_says_why_and_what_to_do() {
    let folder = temp();
    let generate = [
        "generate",
        "--model",
        "nobody/nothing",
        "--prompt",
        "x",
        "-o",
        "x.mp4",
    ];
    offline(generate, folder.path()).ended(1).saying(&[
        "`nobody/nothing` is no folder here",
        "HF_HUB_OFFLINE",
        "hint: run `kinvert models pull nobody/nothing`",
    ]);
    let hub = FakeHub::start(NAME, sprites());
    run(&mut online(generate, &hub, folder.path()))
        .ended(1)
        .saying(&[
            "refuses nobody/nothing (status 401)",
            "accept the licence",
            "check that the token may read it",
        ]);
    let pull = ["models", "pull", NAME, "--revision", "v9"];
    run(&mut online(pull, &hub, folder.path()))
        .ended(1)
        .saying(&["has no maker/sprites@v9 (status 404: Not here)"]);
    for name in ["nothing", "../x", "a/b/c"] {
        offline(["models", "pull", name], folder.path())
            .ended(2)
            .saying(&["hint: names"]);
    }
    offline(["models", "inspect", "nobody/nothing"], folder.path())
        .ended(1)
        .saying(&["hint: `kinvert models pull nobody/nothing` fetches it"]);
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut command = online(["models", "pull", NAME], &hub, folder.path());
    command.env("HF_ENDPOINT", format!("http://{closed}/"));
    let mut child = command
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    child.kill().unwrap(); // five tries take their time; that they begin is enough
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        told.contains("the connection was refused; trying again"),
        "{told}"
    );
}

#[cfg(unix)]
#[test]
fn a_pull_is_stopped_and_goes_on() {
    let folder = temp();
    let files = sprites();
    let half = files[UNET].len() / 2;
    let (first, rest) = files[UNET].split_at(half);
    let (first, rest) = (first.to_vec(), rest.to_vec());
    let hub = FakeHub::with_hooks(
        NAME,
        files,
        Box::new(|_| None),
        Box::new(move |request| {
            let is_first = request.path.contains(UNET) && request.header("range").is_none();
            is_first.then(|| {
                Reply::new(200)
                    .data(first.clone())
                    .hang()
                    .data(rest.clone())
            })
        }),
    );
    let pull = ["models", "pull", NAME];
    let mut command = online(pull, &hub, folder.path());
    let child = command
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let name = format!("{}.incomplete", hash_of(UNET, &sprites()[UNET]));
    let incomplete = folder
        .path()
        .join("hub/models--maker--sprites/blobs")
        .join(name);
    let began = std::time::Instant::now();
    while incomplete.metadata().map_or(0, |metadata| metadata.len()) < half as u64 {
        assert!(began.elapsed().as_secs() < 60);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let interrupted = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(interrupted.unwrap().success());
    Outcome::of(&child.wait_with_output().unwrap()).ended(130);
    run(&mut online(pull, &hub, folder.path())).ended(0);
    let requests = hub.storage.requests();
    let range = requests
        .iter()
        .filter_map(|request| request.header("range"))
        .next();
    assert_eq!(range, Some(format!("bytes={half}-").as_str()));
    offline(["models", "verify", NAME], folder.path()).ended(0);
}
