//! From a request to its answer.

use std::sync::Arc;
use std::time::Instant;

use anyhow::anyhow;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, EXPECT, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::metrics;
use super::service::Service;
use crate::args::PATHS;
use crate::inputs::Input;
use crate::messages::{sentence, tell};
use crate::predict::predicted;
use crate::read::ReadError;
use crate::record::{SCHEMA, record};

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
/// Of what Prometheus reads.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A request that is not answered with what it asks for.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    /// What is wrong, and what to do.
    message: String,
}

/// What is written of it.
#[derive(Serialize)]
struct Failed<'a> {
    schema: u32,
    error: &'a str,
}

/// What is asked of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Question {
    top: usize,
    cues: bool,
}

fn refusal(status: StatusCode, message: impl Into<String>) -> Refusal {
    Refusal { status, message: message.into() }
}

/// The answer to a request; there always is one.
pub async fn answer(service: &Arc<Service>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, mut body) = request.into_parts();
    let outcome = content(service, &head, &mut body).await;
    let is_sending = !head.headers.contains_key(EXPECT);
    if outcome.as_ref().is_err_and(|refusal| is_sending && refusal.status != StatusCode::REQUEST_TIMEOUT) {
        // A client that is not listened to would find the connection broken, and not read why.
        let _ = timeout(service.limit, drain(&mut body, 4 * service.limits.bytes)).await;
    }
    let (status, kind, content) = match outcome {
        Ok((kind, content)) => (StatusCode::OK, kind, content),
        Err(Refusal { status, message }) => {
            let failed = Failed { schema: SCHEMA, error: &message };
            let json = serde_json::to_string(&failed).unwrap_or_default() + "\n";
            (status, JSON, json)
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(content)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    match status {
        StatusCode::UNAUTHORIZED => headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
        StatusCode::SERVICE_UNAVAILABLE => headers.insert(RETRY_AFTER, HeaderValue::from_static("1")),
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(ALLOW, HeaderValue::from_static(methods(head.uri.path()).unwrap_or_default()))
        }
        _ => None,
    };
    response
}

/// Reads what is left of a body, up to some bytes, and forgets it.
async fn drain(body: &mut Incoming, mut most: u64) {
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        let Some(rest) = most.checked_sub(bytes as u64) else { return };
        most = rest;
    }
}

/// The type and the content of an answer.
async fn content(
    service: &Arc<Service>,
    head: &Parts,
    body: &mut Incoming,
) -> Result<(&'static str, String), Refusal> {
    let path = head.uri.path();
    let is_public = matches!(path, "/healthz" | "/readyz");
    if let Some(token) = service.token.as_ref().filter(|_| !is_public)
        && !token.is_in(head.headers.get(AUTHORIZATION))
    {
        let message = "show the secret of --token-file as header Authorization: Bearer SECRET";
        return Err(refusal(StatusCode::UNAUTHORIZED, message));
    }
    let Some(methods) = methods(path) else {
        return Err(refusal(StatusCode::NOT_FOUND, "nothing is there; GET / lists what is"));
    };
    if !methods.split(", ").any(|method| method == head.method) {
        let message = format!("{path} takes {methods}, not {}; GET / says more", head.method);
        return Err(refusal(StatusCode::METHOD_NOT_ALLOWED, message));
    }
    match path {
        "/predict" => Ok((JSON, predict(service, head, body).await?)),
        "/model" => Ok((JSON, service.model.report().map_err(|error| broken(&error.into()))?)),
        "/metrics" => Ok((METRICS, metrics::text(&service.metrics, &service.present()))),
        "/healthz" => Ok((TEXT, "alive\n".to_string())),
        "/readyz" if service.places.available_permits() > 0 => Ok((TEXT, "ready\n".to_string())),
        "/readyz" => Err(full(service)),
        _ => Ok((TEXT, format!("Fieldmark {}\n\n{PATHS}\n", env!("CARGO_PKG_VERSION")))),
    }
}

/// What can be done with a path; `None` where nothing is.
fn methods(path: &str) -> Option<&'static str> {
    match path {
        "/predict" => Some("POST"),
        "/" | "/model" | "/metrics" | "/healthz" | "/readyz" => Some("GET, HEAD"),
        _ => None,
    }
}

fn full(service: &Service) -> Refusal {
    let message = format!("all {} places for pictures are taken; try again", service.all_places);
    refusal(StatusCode::SERVICE_UNAVAILABLE, message)
}

/// What went wrong here, and not with the request: told on stderr, too.
fn broken(error: &anyhow::Error) -> Refusal {
    let message = sentence(error);
    tell("error", &message);
    refusal(StatusCode::INTERNAL_SERVER_ERROR, message)
}

/// The record of the picture in a body.
async fn predict(service: &Arc<Service>, head: &Parts, body: &mut Incoming) -> Result<String, Refusal> {
    let question = question(head.uri.query().unwrap_or_default())
        .map_err(|message| refusal(StatusCode::BAD_REQUEST, message))?;
    let kind = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if kind.get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/")) {
        let message = "is a form; send the picture's bytes alone (curl --data-binary @FILE)";
        return Err(refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let place = Arc::clone(&service.places).try_acquire_owned().map_err(|_| full(service))?;
    let picture = received(service, body).await?;
    let worker = Arc::clone(service);
    service.metrics.count_begun();
    let named = tokio::task::spawn_blocking(move || named(&worker, &picture, question, place)).await;
    let named = named
        .unwrap_or_else(|_| Err(anyhow!("a picture broke the program; please report it with the picture")));
    named.map_err(|error| {
        let Some(read) = error.downcast_ref::<ReadError>() else { return broken(&error) };
        let status =
            if read.is_limit() { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::UNPROCESSABLE_ENTITY };
        refusal(status, format!("the picture {}", sentence(&error)))
    })
}

/// All of a body, within its limits.
async fn received(service: &Service, body: &mut Incoming) -> Result<Vec<u8>, Refusal> {
    let most = service.limits.bytes;
    let too_large = || {
        let mib = most >> 20;
        let message = format!(
            "is larger than {mib} MiB; send it smaller, or start the program with a larger --max-body"
        );
        refusal(StatusCode::PAYLOAD_TOO_LARGE, message)
    };
    if body.size_hint().lower() > most {
        return Err(too_large());
    }
    let receive = async {
        // One buffer: a client chooses how small the pieces are.
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                refusal(StatusCode::BAD_REQUEST, format!("the request ended early ({error}); send it again"))
            })?;
            let piece = frame.data_ref().map_or(&[][..], |piece| piece);
            if (bytes.len() + piece.len()) as u64 > most {
                return Err(too_large());
            }
            bytes.extend_from_slice(piece);
        }
        Ok(bytes)
    };
    timeout(service.limit, receive).await.unwrap_or_else(|_| {
        let seconds = service.limit.as_secs();
        let message = format!(
            "the picture took more than {seconds} s to arrive; send it smaller, or start the program with a larger \
             --timeout"
        );
        Err(refusal(StatusCode::REQUEST_TIMEOUT, message))
    })
}

/// The work of a thread: the record, as a line of JSON. The place is free when it is done, whether or not the client waits.
fn named(
    service: &Service,
    picture: &[u8],
    question: Question,
    place: OwnedSemaphorePermit,
) -> anyhow::Result<String> {
    let _counted = Counted(service, place);
    let loaded = service.model.current();
    let Question { top, cues } = question;
    let (frame, prediction) = predicted(&loaded.engine, picture, &service.limits, Instant::now(), top, cues)?;
    service.metrics.count_picture(&prediction);
    let record = record(Input::Stdin.name(), &frame, prediction, top, cues);
    Ok(serde_json::to_string(&record)? + "\n")
}

/// A picture that a thread has; counted when it is through with it, however that ends.
struct Counted<'a>(&'a Service, #[allow(dead_code, reason = "held")] OwnedSemaphorePermit);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.metrics.count_done();
    }
}

/// What is asked, as `predict` asks by default.
fn question(query: &str) -> Result<Question, String> {
    let mut question = Question { top: 3, cues: false };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("top", top)) => {
                question.top = top
                    .parse()
                    .ok()
                    .filter(|&top| top > 0)
                    .ok_or_else(|| format!("top is {top:?}, expected a whole number from 1 on"))?;
            }
            Some(("cues", cues)) => {
                question.cues =
                    cues.parse().map_err(|_| format!("cues is {cues:?}, expected true or false"))?;
            }
            _ => return Err(format!("{pair:?} is not known; there are top=K and cues=true")),
        }
    }
    Ok(question)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_asked_in_the_query() {
        let cases = [
            ("", Ok((3, false))),
            ("top=5&cues=true", Ok((5, true))),
            ("cues=false&top=1&", Ok((1, false))),
            ("top=0", Err("from 1 on")),
            ("top=many", Err("from 1 on")),
            ("cues=maybe", Err("true or false")),
            ("overlay=/etc/passwd", Err("not known")),
        ];
        for (query, expected) in cases {
            match (question(query), expected) {
                (Ok(Question { top, cues }), Ok(expected)) => assert_eq!((top, cues), expected, "{query}"),
                (Err(message), Err(part)) => assert!(message.contains(part), "{query}: {message}"),
                (actual, _) => panic!("{query}: {actual:?}"),
            }
        }
    }
}
