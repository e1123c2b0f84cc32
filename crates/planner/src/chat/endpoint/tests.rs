use super::*;

const SECRET: &str = "sk-not-to-be-seen";

fn resolve(name: &str, base_url: Option<&str>, set: &[&str]) -> Result<Endpoint, Error> {
    let variable = |name: &str| {
        set.contains(&name)
            .then(|| format!("{SECRET}-{name}-{SECRET}"))
    };
    Endpoint::resolve(name, base_url, &variable)
}

#[test]
fn every_prefix_leads_to_its_endpoint() {
    for provider in &PROVIDERS {
        let name = format!("{}/some/model:7b", provider.prefix);
        let set: Vec<&str> = provider.key_variable.into_iter().collect();
        let endpoint = resolve(&name, None, &set).unwrap();
        assert_eq!(endpoint.model(), "some/model:7b");
        assert_eq!(endpoint.base_url(), provider.base_url);
        assert_eq!(endpoint.has_key(), provider.key_variable.is_some());
        assert_eq!(endpoint.is_private(), provider.key_variable.is_none());
    }
}

#[test]
fn a_base_url_takes_any_name() {
    let url = Some("http://127.0.0.1:8000/v1/");
    let plain = resolve("my-model", url, &["OPENAI_API_KEY"]).unwrap();
    assert_eq!(
        (plain.model(), plain.base_url()),
        ("my-model", "http://127.0.0.1:8000/v1")
    );
    assert!(!plain.has_key(), "a key goes only where it was meant to go");
    let unknown = resolve("org/my-model", url, &[KEY_VARIABLE]).unwrap();
    assert_eq!(unknown.model(), "org/my-model");
    assert!(unknown.has_key());
    let known = resolve("vllm/openai/gpt-oss-20b", url, &[]).unwrap();
    assert_eq!(known.model(), "openai/gpt-oss-20b");
    let url = Some("https://eu.example.com/v1/chat/completions");
    let both = resolve("openai/gpt-5", url, &["OPENAI_API_KEY", KEY_VARIABLE]).unwrap();
    assert_eq!(both.base_url(), "https://eu.example.com/v1");
    assert_eq!(both.key_variable(), KEY_VARIABLE);
    let theirs = resolve("openai/gpt-5", url, &["OPENAI_API_KEY"]).unwrap();
    assert_eq!(theirs.key_variable(), "OPENAI_API_KEY");
    assert!(theirs.has_key());
}

#[test]
fn names_that_say_no_endpoint_are_refused() {
    for name in ["gpt-5", "acme/gpt-5", "openai/", "", "openai/gpt 5"] {
        let error = resolve(name, None, &["OPENAI_API_KEY"]).unwrap_err();
        assert!(
            matches!(error, Error::ModelName { .. }),
            "{name}: {error:?}"
        );
        let hint = error.hint().unwrap();
        assert!(hint.contains("openrouter/") && hint.contains("--base-url"));
    }
}

#[test]
fn a_missing_or_broken_key_names_its_variable() {
    let error = resolve("openai/gpt-5", None, &["MISTRAL_API_KEY", KEY_VARIABLE]).unwrap_err();
    assert!(error.to_string().contains("OPENAI_API_KEY"), "{error}");
    for broken in ["sk-a sk-b", "sk-ä", "sk\u{7}"] {
        let variable = |_: &str| Some(broken.to_string());
        let error = Endpoint::resolve("openai/gpt-5", None, &variable).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("sk"), "{error:?}");
    }
    let blank = |_: &str| Some(" \n".to_string());
    assert!(Endpoint::resolve("openai/gpt-5", None, &blank).is_err());
    assert!(
        !Endpoint::resolve("ollama/llama3", None, &blank)
            .unwrap()
            .has_key()
    );
}

#[test]
fn addresses_that_are_none_are_refused_without_their_credentials() {
    let addresses = [
        "127.0.0.1:8000/v1",
        "ftp://host/v1",
        "http://",
        "http:///v1",
        "not a url",
        "http://user:hunter2@host/v1",
        "user:hunter2@host",
        "https://host/v1?key=hunter2",
        "https://host/v1#hunter2",
    ];
    for address in addresses {
        let error = resolve("model", Some(address), &[]).unwrap_err();
        assert!(matches!(error, Error::BaseUrl { .. }), "{address}");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}

#[test]
fn a_key_travels_encrypted_or_to_a_private_host() {
    let private = [
        "localhost:1",
        "gpu-box",
        "127.0.0.1",
        "10.1.2.3:8000",
        "192.168.0.9",
        "172.31.0.1",
        "[::1]:8080",
        "[fd00::1]",
        "[::ffff:10.0.0.1]",
        "models.internal",
        "printer.local",
    ];
    for host in private {
        resolve("model", Some(&format!("http://{host}/v1")), &[KEY_VARIABLE]).unwrap();
    }
    let public = [
        "example.com",
        "8.8.8.8",
        "172.32.0.1",
        "134744072",
        "0x8080808",
        "[2001:4860::8888]",
        "[::ffff:8.8.8.8]",
        "127.0.0.1.example.com",
        "localhost.",
    ];
    for host in public {
        let url = format!("http://{host}/v1");
        let error = resolve("model", Some(&url), &[KEY_VARIABLE]).unwrap_err();
        assert!(error.to_string().contains("unencrypted"), "{host}: {error}");
        resolve("model", Some(&url), &[]).unwrap();
        resolve(
            "model",
            Some(&url.replace("http:", "https:")),
            &[KEY_VARIABLE],
        )
        .unwrap();
    }
}

#[test]
fn a_key_shows_nowhere() {
    let endpoint = resolve("openai/gpt-5", None, &["OPENAI_API_KEY"]).unwrap();
    let authorization = endpoint.authorization().unwrap();
    let echoed = endpoint.tidy(&format!("bad key\n\u{1b}[2J {authorization}!"), 100);
    assert_eq!(echoed, "bad key [2J Bearer …!");
    for shown in [format!("{endpoint:?}"), endpoint.to_string(), echoed] {
        assert!(!shown.contains(SECRET), "{shown}");
    }
    assert_eq!(endpoint.tidy("räksmörgås", 4), "räks…");
}
