//! What a line says, and the lines that answer it (JSON-RPC 2.0, sections 4 to 6).

use serde_json::{Map, Value, json};

/// Bytes of a request's line at most. The longest message, 64 KiB, takes six times as much when all of it is escaped.
pub(super) const MAX_LINE: usize = 1024 * 1024;

/// Requests in a batch at most: a page of history fits, and 1 MiB of `1,1,1…` does not become as many error objects.
pub(super) const MAX_BATCH: usize = 256;

/// Why a request has no result: section 5.1, "Error object".
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: i64,
    pub(super) message: String,
    /// For programs.
    pub(super) data: Option<Value>,
}

impl Failure {
    fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    pub(super) fn parse(message: impl Into<String>) -> Self {
        Self::new(-32_700, message)
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(-32_600, message)
    }

    pub(super) fn unknown_method(name: &str) -> Self {
        Self::new(-32_601, format!("there is no method {name:?} here"))
    }

    pub(super) fn parameters(message: impl Into<String>) -> Self {
        Self::new(-32_602, message)
    }

    /// The command was understood and not carried out.
    pub(super) fn command(message: impl Into<String>, data: Value) -> Self {
        Self { data: Some(data), ..Self::new(-32_000, message) }
    }
}

/// A request that is one in form.
#[derive(Debug, PartialEq)]
pub(super) struct Request {
    /// To be given back with the answer; a request without one is a notification and gets none.
    pub(super) id: Option<Value>,
    pub(super) method: String,
    /// An object, or an array of the values in the order of the documentation.
    pub(super) parameters: Value,
}

/// What stands in a line.
#[derive(Debug, PartialEq)]
pub(super) enum Incoming {
    One(Result<Request, Refusal>),
    Batch(Vec<Result<Request, Refusal>>),
}

/// What is no request, and the id to say so under.
#[derive(Debug, PartialEq)]
pub(super) struct Refusal {
    pub(super) id: Value,
    pub(super) failure: Failure,
}

/// Reads a line.
pub(super) fn parse(line: &[u8]) -> Incoming {
    match serde_json::from_slice(line) {
        Err(error) => refused(Failure::parse(format!("the line is not JSON: {error}"))),
        Ok(Value::Array(batch)) if batch.is_empty() => refused(Failure::invalid("the batch is empty")),
        Ok(Value::Array(batch)) if batch.len() > MAX_BATCH => {
            refused(Failure::invalid(format!("a batch has at most {MAX_BATCH} requests; send several")))
        }
        Ok(Value::Array(batch)) => Incoming::Batch(batch.into_iter().map(request).collect()),
        Ok(value) => Incoming::One(request(value)),
    }
}

/// What a line was that was too long to be kept.
pub(super) fn too_long() -> Incoming {
    refused(Failure::invalid(format!("a line has at most {MAX_LINE} bytes; send several requests")))
}

fn refused(failure: Failure) -> Incoming {
    Incoming::One(Err(Refusal { id: Value::Null, failure }))
}

fn request(value: Value) -> Result<Request, Refusal> {
    let refuse = |id, failure| Err(Refusal { id, failure });
    let Value::Object(mut fields) = value else {
        return refuse(Value::Null, Failure::invalid("a request is an object"));
    };
    let id = match fields.remove("id") {
        None => None,
        Some(id @ (Value::Null | Value::Number(_) | Value::String(_))) => Some(id),
        Some(_) => return refuse(Value::Null, Failure::invalid("an id is a string, a number or null")),
    };
    let told = id.clone().unwrap_or_default();
    if fields.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return refuse(told, Failure::invalid("a request says \"jsonrpc\": \"2.0\""));
    }
    let Some(Value::String(method)) = fields.remove("method") else {
        return refuse(told, Failure::invalid("a request names its method, as a string"));
    };
    let parameters = fields.remove("params").unwrap_or_else(|| Value::Object(Map::new()));
    if !(parameters.is_object() || parameters.is_array()) {
        return refuse(told, Failure::invalid("params are an object or an array"));
    }
    Ok(Request { id, method, parameters })
}

/// The answer to the request of this id.
pub(super) fn response(id: &Value, outcome: Result<Value, Failure>) -> Value {
    match outcome {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err(Failure { code, message, data }) => {
            let mut error = json!({"code": code, "message": message});
            if let Some(data) = data {
                error["data"] = data;
            }
            json!({"jsonrpc": "2.0", "id": id, "error": error})
        }
    }
}

/// What is told unasked.
pub(super) fn notification(method: &str, parameters: &Value) -> Value {
    json!({"jsonrpc": "2.0", "method": method, "params": parameters})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(line: &str) -> (Value, i64) {
        match parse(line.as_bytes()) {
            Incoming::One(Err(refusal)) => (refusal.id, refusal.failure.code),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_is_read_with_its_id_as_it_stands() {
        for id in [json!(7), json!("x"), json!(1.5), Value::Null] {
            let line = json!({"jsonrpc": "2.0", "id": id, "method": "m", "params": {"a": 1}}).to_string();
            let expected = Request { id: Some(id), method: "m".into(), parameters: json!({"a": 1}) };
            assert_eq!(parse(line.as_bytes()), Incoming::One(Ok(expected)));
        }
    }

    #[test]
    fn a_request_without_an_id_is_a_notification_and_one_without_parameters_has_none() {
        let expected = Request { id: None, method: "m".into(), parameters: json!({}) };
        assert_eq!(parse(br#"{"jsonrpc":"2.0","method":"m"}"#), Incoming::One(Ok(expected)));
    }

    #[test]
    fn what_is_not_json_is_a_parse_error() {
        for line in ["", "{", "{\"jsonrpc\": \"2.0\", \"method\"", "\u{0}", "[1,"] {
            assert_eq!(failure(line), (Value::Null, -32_700), "{line}");
        }
    }

    #[test]
    fn what_is_json_but_no_request_is_invalid() {
        for line in [
            "1",
            "\"x\"",
            "null",
            "[]",
            "{}",
            r#"{"jsonrpc":"1.0","method":"m"}"#,
            r#"{"jsonrpc":"2.0"}"#,
            r#"{"jsonrpc":"2.0","method":1}"#,
            r#"{"jsonrpc":"2.0","method":"m","params":1}"#,
            r#"{"jsonrpc":"2.0","method":"m","id":{}}"#,
        ] {
            assert_eq!(failure(line), (Value::Null, -32_600), "{line}");
        }
        assert_eq!(failure(r#"{"method":"m","id":7}"#), (json!(7), -32_600));
    }

    #[test]
    fn a_batch_is_read_one_by_one_and_has_a_limit() {
        let Incoming::Batch(batch) = parse(br#"[1, {"jsonrpc":"2.0","method":"m"}]"#) else {
            panic!("a batch");
        };
        assert_eq!(batch[0].as_ref().unwrap_err().failure.code, -32_600);
        assert_eq!(batch[1].as_ref().unwrap().method, "m");
        let many = Value::from(vec![1; MAX_BATCH + 1]).to_string();
        assert_eq!(failure(&many), (Value::Null, -32_600));
    }
}
