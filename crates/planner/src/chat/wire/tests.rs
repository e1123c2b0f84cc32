use serde_json::{Value, json};

use super::*;
use crate::chat::endpoint::{BoundField, Endpoint};
use crate::chat::{ChatRequest, Prices, Role, Turn, Usage};

fn endpoint() -> Endpoint {
    Endpoint::resolve("ollama/llama3", None, &|_| None).unwrap()
}

fn request() -> ChatRequest {
    ChatRequest {
        system: "Be brief.".into(),
        turns: vec![Turn {
            role: Role::User,
            text: "Hello".into(),
        }],
        temperature: Some(0.7),
        max_output_tokens: Some(100),
    }
}

fn complaint(error: Value) -> Complaint {
    Complaint::read(json!({ "error": error }).to_string().as_bytes())
}

#[test]
fn a_request_is_written_in_the_dialect_of_its_endpoint() {
    let dialect = Dialect::new(BoundField::MaxCompletionTokens);
    let body = request_body("m", &request(), dialect).unwrap();
    assert_eq!(
        body,
        r#"{"model":"m","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hello"}],"stream":true,"stream_options":{"include_usage":true},"temperature":0.7,"max_completion_tokens":100}"#
    );
    let plain = ChatRequest {
        system: String::new(),
        temperature: None,
        max_output_tokens: None,
        ..request()
    };
    let quiet = Dialect {
        stream_options: false,
        ..dialect
    };
    assert_eq!(
        request_body("m", &plain, quiet).unwrap(),
        r#"{"model":"m","messages":[{"role":"user","content":"Hello"}],"stream":true}"#
    );
}

#[test]
fn what_an_endpoint_does_not_take_is_known_from_its_complaint() {
    let openai = complaint(json!({
        "message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        "type": "invalid_request_error", "param": "max_tokens", "code": "unsupported_parameter",
    }));
    let (dialect, note) = Dialect::new(BoundField::MaxTokens)
        .adapted(&request(), &openai)
        .unwrap();
    assert!(note.contains("`max_completion_tokens`"), "{note}");
    assert_eq!(dialect.bound_field, BoundField::MaxCompletionTokens);
    // Neither a second time, nor where the field was not sent.
    assert_eq!(dialect.adapted(&request(), &openai), None);
    let new = Dialect::new(BoundField::MaxCompletionTokens);
    assert_eq!(new.adapted(&request(), &openai), None);

    let temperature = complaint(json!({
        "message": "Unsupported value: 'temperature' does not support 0.7 with this model.",
        "param": "temperature", "code": "unsupported_value",
    }));
    let (dialect, _) = new.adapted(&request(), &temperature).unwrap();
    assert!(!dialect.temperature && dialect.stream_options);
    assert_eq!(dialect.adapted(&request(), &temperature), None);

    let fastapi =
        br#"{"detail":[{"loc":["body","stream_options"],"msg":"Extra inputs are not permitted"}]}"#;
    let (dialect, _) = new.adapted(&request(), &Complaint::read(fastapi)).unwrap();
    assert!(!dialect.stream_options && dialect.temperature);

    let other = [
        json!({ "message": "max_completion_tokens is too large: 100", "param": "max_completion_tokens" }),
        json!({ "message": "'tools' is not supported", "param": "tools" }),
        json!({ "message": "this model does not support images" }),
    ];
    for other in other {
        assert_eq!(new.adapted(&request(), &complaint(other)), None);
    }
}

#[test]
fn complaints_are_read_in_every_form() {
    let message = |text: &str| Complaint::read(text.as_bytes()).message;
    assert_eq!(message(r#"{"error":{"message":"no"}}"#), "no");
    assert_eq!(message(r#"[{"error":{"message":"no","code":429}}]"#), "no");
    assert_eq!(message(r#"{"error":"no"}"#), "no");
    assert_eq!(message(r#"{"message":"no"}"#), "no");
    assert_eq!(message(r#"{"detail":"no"}"#), "no");
    assert_eq!(message("no"), "no");
    assert_eq!(
        message("<html>no</html>"),
        "a page for people, expected JSON"
    );
    assert_eq!(message(" "), "without a reason");
    assert_eq!(message("null"), "without a reason");
    assert_eq!(message("[]"), "without a reason");
    assert!(
        complaint(json!({ "message": "x", "code": "context_length_exceeded" })).is_of_context()
    );
    assert!(complaint(json!({ "message": "x", "type": "insufficient_quota" })).is_of_quota());
}

#[test]
fn thoughts_are_counted_but_not_kept_and_parts_are_joined() {
    let endpoint = endpoint();
    let mut draft = Draft::new(&endpoint);
    let events = [
        json!({ "choices": [{ "delta": { "role": "assistant", "content": null, "reasoning_content": "Hm." } }] }),
        json!({ "choices": [{ "delta": { "content": [
            { "type": "thinking", "thinking": [] }, { "type": "text", "text": "He" },
        ] } }] }),
        json!({ "choices": [{ "index": 1, "delta": { "content": "other choice" } }] }),
        json!({ "choices": [{ "index": 0, "delta": { "content": "y" }, "finish_reason": "stop" }], "error": null }),
        json!({ "choices": [], "usage": { "prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 17, "cost": 0.5 } }),
    ];
    for event in events {
        draft.take_event(event.to_string().as_bytes()).unwrap();
    }
    assert_eq!(draft.chars(), 6);
    let prices = Prices {
        input_per_million: 1e6,
        output_per_million: 0.0,
    };
    let answer = draft.finish(&request(), Some(prices)).unwrap();
    assert_eq!(answer.text, "Hey");
    let expected = Usage {
        answers: 1,
        from_cache: 0,
        input_tokens: 5,
        output_tokens: 12, // ten of them thoughts, by the total
        cost_usd: Some(0.5),
        estimated: 0,
    };
    assert_eq!(answer.usage, expected);
}

#[test]
fn tokens_that_nobody_counted_are_estimated_and_priced() {
    let endpoint = endpoint();
    let mut draft = Draft::new(&endpoint);
    let whole = json!({ "choices": [{ "message": { "content": "äöüäöüäöü" } }] });
    draft.take_whole(whole.to_string().as_bytes()).unwrap();
    let prices = Prices {
        input_per_million: 2.0,
        output_per_million: 10.0,
    };
    let usage = draft.finish(&request(), Some(prices)).unwrap().usage;
    assert_eq!((usage.input_tokens, usage.output_tokens), (4, 3));
    assert_eq!(usage.estimated, 1);
    assert!((usage.cost_usd.unwrap() - 38e-6).abs() < 1e-12);
}

#[test]
fn each_fault_is_told_from_the_others() {
    let fault = |json: Value| {
        let endpoint = endpoint();
        let mut draft = Draft::new(&endpoint);
        match draft.take_whole(json.to_string().as_bytes()) {
            Ok(()) => draft.finish(&request(), None).unwrap_err(),
            Err(fault) => fault,
        }
    };
    let choice = |content: &str, reason: &str| json!({ "choices": [{ "message": { "content": content }, "finish_reason": reason }] });
    assert_eq!(fault(json!({})), AnswerFault::NoChoices);
    assert_eq!(fault(json!({ "choices": [] })), AnswerFault::NoChoices);
    assert_eq!(fault(choice(" \n", "stop")), AnswerFault::Empty);
    assert_eq!(fault(json!({ "choices": [{}] })), AnswerFault::Empty);
    let length = fault(choice("x", "length"));
    assert_eq!(length, AnswerFault::Length { bound: Some(100) });
    assert!(length.to_string().contains("max tokens (100)"), "{length}");
    assert_eq!(fault(choice("x", "content_filter")), AnswerFault::Filtered);
    let refusal = json!({ "choices": [{ "message": { "refusal": "No\u{7}." } }] });
    let reason = "No .".to_string();
    assert_eq!(fault(refusal), AnswerFault::Refused { reason });
    assert!(matches!(fault(json!([1])), AnswerFault::Malformed { .. }));
    assert!(matches!(
        fault(json!({ "choices": [{ "message": "x" }] })),
        AnswerFault::Malformed { .. }
    ));
    let reported = |error| fault(json!({ "error": error })).passes();
    assert!(reported(json!({ "message": "overloaded", "code": 502 })));
    assert!(reported(json!({ "message": "server_error" })));
    assert!(!reported(json!({ "message": "no", "code": 400 })));
    assert!(!reported(
        json!({ "message": "no", "code": "insufficient_quota" })
    ));
}
