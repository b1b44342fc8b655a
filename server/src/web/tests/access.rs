//! Who gets in, who is refused, and that refusals are rows.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use utoipa::OpenApi;

use super::site::{PASSWORD, Site};
use crate::web::api::ApiDoc;

#[tokio::test]
async fn the_document_lists_every_route_and_every_route_wants_a_session() {
    let document = serde_json::to_value(ApiDoc::openapi()).unwrap();
    let documented: std::collections::BTreeMap<String, Vec<String>> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(path, methods)| (path.clone(), methods.as_object().unwrap().keys().cloned().collect()))
        .collect();
    let source = include_str!("../api/mod.rs");
    let mut routed = 0;
    let routes = source.split(".merge(docs)").next().unwrap();
    for route in routes.split(".route(").skip(1) {
        let (path, methods) = route.trim_start().trim_start_matches('"').split_once('"').unwrap();
        let path = path.replace("{*path}", "{path}");
        let listed = documented
            .get(&path)
            .unwrap_or_else(|| panic!("{path} is not in the document"));
        for method in ["get", "post", "delete", "put", "patch"] {
            let served = methods.contains(&format!("{method}("));
            assert_eq!(served, listed.contains(&method.to_owned()), "{method} {path}");
            routed += usize::from(served);
        }
    }
    assert!(routed >= 20, "only {routed} routes were found in the source");

    let site = Site::new().await;
    let id = "0".repeat(32);
    for (path, methods) in documented {
        let address = ["{camera}", "{request}", "{grant}", "{export}"]
            .iter()
            .fold(path.clone(), |path, name| path.replace(name, &id));
        let address = address.replace("{name}", "0.mp4").replace("{path}", "0/000");
        for method in methods {
            let open = ["/healthz"].contains(&path.as_str()) || (path == "/api/v1/session" && method != "get");
            if open {
                continue;
            }
            let request = Request::builder()
                .method(method.to_uppercase().as_str())
                .uri(format!("{address}?from=2026-11-22T05:00:00Z&to=2026-11-22T06:00:00Z"))
                .header("host", "localhost")
                .header("content-type", "application/json")
                .body(Body::from("{}"));
            let answer = site.send(request.unwrap()).await;
            assert_eq!(answer.problem().0, 401, "{method} {path}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn signing_in_gives_a_fresh_session_and_ends_the_one_that_was_brought() {
    let site = Site::new().await;
    let first = site.sign_in("asker").await;
    let planted = format!("custody={}", "a".repeat(64));
    let body = json!({"name": "asker", "password": PASSWORD});
    let second = site.post(&planted, "/api/v1/session", body.clone()).await;
    assert_ne!(second.cookie(), planted, "a planted id never becomes a session");
    assert_eq!(site.get(&planted, "/api/v1/session").await.problem().0, 401);
    let set = second.headers["set-cookie"].to_str().unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(set.contains(part), "{part} is missing in {set}");
    }
    site.post(&first, "/api/v1/session", body).await;
    assert_eq!(
        site.get(&first, "/api/v1/session").await.problem().0,
        401,
        "the earlier session of this browser ended"
    );
    let session = second.cookie();
    assert_eq!(site.get(&session, "/api/v1/session").await.json()["grade"], "asks");
    let out = Request::delete("/api/v1/session")
        .header("host", "localhost")
        .header("cookie", &session)
        .body(Body::empty());
    assert_eq!(site.send(out.unwrap()).await.status, 204);
    assert_eq!(site.get(&session, "/api/v1/session").await.problem().0, 401);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_answer_alike() {
    let site = Site::new().await;
    let wrong = site
        .post(
            "",
            "/api/v1/session",
            json!({"name": "asker", "password": "wrong-horse-battery-9"}),
        )
        .await;
    let unknown = site
        .post(
            "",
            "/api/v1/session",
            json!({"name": "nobody", "password": "wrong-horse-battery-9"}),
        )
        .await;
    assert_eq!(wrong.problem(), (401, "sign-in-refused".into(), Some("sign-in".into())));
    assert_eq!(wrong.text(), unknown.text());
}

#[tokio::test]
async fn other_sites_and_other_names_are_refused() {
    let site = Site::new().await;
    let session = site.sign_in("decider").await;
    let post = |origin: &'static str, host: &'static str| {
        Request::post("/api/v1/requests")
            .header("host", host)
            .header("origin", origin)
            .header("content-type", "application/json")
            .header("cookie", &session)
            .body(Body::from("{}"))
            .unwrap()
    };
    assert_eq!(
        site.send(post("https://evil.example", "localhost")).await.problem().1,
        "cross-site"
    );
    assert_eq!(
        site.send(post("http://evil.example", "evil.example")).await.problem(),
        (421, "wrong-host".into(), None)
    );
    let form = Request::post("/requests")
        .header("host", "localhost")
        .header("sec-fetch-site", "cross-site")
        .header("cookie", &session);
    assert_eq!(
        site.send(form.body(Body::empty()).unwrap()).await.problem().1,
        "cross-site"
    );
}

#[tokio::test]
async fn what_is_malformed_or_too_large_is_a_problem() {
    let site = Site::new().await;
    let session = site.sign_in("asker").await;
    let good = site.asking(0, 30, "view");
    let with = |key: &str, value: serde_json::Value| {
        let mut body = good.clone();
        body[key] = value;
        body
    };
    for (name, body, expected) in [
        ("unknown field", with("surprise", json!(1)), (422, "malformed")),
        ("no camera", with("cameras", json!([])), (422, "unacceptable")),
        (
            "camera that is no id",
            with("cameras", json!(["gate"])),
            (422, "unacceptable"),
        ),
        (
            "unknown camera",
            with("cameras", json!(["0".repeat(32)])),
            (404, "not-found"),
        ),
        (
            "time without zone",
            with("from", json!("2026-11-22T05:00:00")),
            (400, "malformed"),
        ),
        (
            "end before begin",
            with("to", json!(Site::at(-5))),
            (422, "unacceptable"),
        ),
        (
            "unknown ground",
            with("ground", json!("curiosity")),
            (422, "unacceptable"),
        ),
        ("form", with("form", json!("stream")), (422, "unacceptable")),
        (
            "resident number",
            with("purpose", json!("ask 900101-1234568")),
            (422, "unacceptable"),
        ),
        (
            "too large",
            with("purpose", json!("x".repeat(100_000))),
            (413, "malformed"),
        ),
    ] {
        let answer = site.post(&session, "/api/v1/requests", body).await;
        let (status, kind, _) = answer.problem();
        assert_eq!((status, kind.as_str()), expected, "{name}: {}", answer.text());
    }
    assert_eq!(site.get(&session, "/api/v1/requests?limit=x").await.problem().0, 400);
    assert_eq!(site.get(&session, "/api/v1/nothing").await.problem().0, 404);
}

#[tokio::test]
async fn nobody_decides_their_own_and_every_refusal_is_a_row() {
    let site = Site::new().await;
    let (asker, other, decider, admin) = (
        site.sign_in("asker").await,
        site.sign_in("other").await,
        site.sign_in("decider").await,
        site.sign_in("admin").await,
    );
    let own = site
        .post(&decider, "/api/v1/requests", site.asking(0, 30, "view"))
        .await
        .json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let asked = site
        .post(&asker, "/api/v1/requests", site.asking(0, 30, "view"))
        .await
        .json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let decision = |id: &str| format!("/api/v1/requests/{id}/decision");
    let approve = json!({"decision": "approve"});
    for (name, answer, expected) in [
        (
            "own request",
            site.post(&decider, &decision(&own), approve.clone()).await,
            (403, "refused", "own-request"),
        ),
        (
            "asking grade",
            site.post(&asker, &decision(&asked), approve.clone()).await,
            (403, "refused", "grade-may-not"),
        ),
        (
            "another's request",
            site.get(&other, &format!("/api/v1/requests/{asked}")).await,
            (404, "not-found", "not-yours"),
        ),
        (
            "administering",
            site.get(&admin, "/api/v1/requests").await,
            (403, "refused", "grade-may-not"),
        ),
        (
            "free-text refusal",
            site.post(&decider, &decision(&asked), json!({"decision": "refuse", "note": "no"}))
                .await,
            (422, "unacceptable", "ground-required"),
        ),
    ] {
        let (status, kind, rule) = answer.problem();
        assert_eq!(
            (status, kind.as_str(), rule.as_deref()),
            (expected.0, expected.1, Some(expected.2)),
            "{name}"
        );
    }
    assert_eq!(
        site.refusals(),
        [
            "own-request",
            "grade-may-not",
            "not-yours",
            "grade-may-not",
            "ground-required"
        ]
    );
    let seen = site.get(&other, "/api/v1/requests").await.json();
    assert_eq!(
        seen["requests"].as_array().unwrap().len(),
        0,
        "a list holds only one's own"
    );
    assert_eq!(site.get(&decider, "/api/v1/requests?limit=1").await.json()["next"], 2);
    let refused = site
        .post(
            &decider,
            &decision(&asked),
            json!({"decision": "refuse", "ground": "not-identified"}),
        )
        .await;
    assert_eq!(refused.json()["state"], "refused");
    assert_eq!(site.post(&decider, &decision(&asked), approve).await.problem().0, 409);
}
