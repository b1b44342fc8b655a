//! The pages as a browser without script meets them.

use axum::body::Body;
use axum::http::Request;

use super::site::{PASSWORD, Site};

#[tokio::test]
async fn whoever_is_not_signed_in_is_asked_to_and_comes_back() {
    let site = Site::new().await;
    let answer = site.get("", "/requests/new?check=1").await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["location"]),
        (303, &"/sign-in?back=/requests/new%3Fcheck%3D1".parse().unwrap())
    );
    let form = format!("name=asker&password={PASSWORD}&language=en&back=/requests/new%3Fcheck%3D1");
    let answer = site.submit("", "/sign-in", &form).await;
    assert_eq!(answer.headers["location"], "/requests/new?check=1");
    let page = site.get(&answer.cookie(), "/requests").await.text();
    assert!(page.contains("asker &#60;b&#62;"), "names are escaped");
    let away = site
        .submit(
            "",
            "/sign-in",
            &form.replace("/requests/new%3Fcheck%3D1", "https://evil.example/"),
        )
        .await;
    assert_eq!(away.headers["location"], "/");
}

#[tokio::test]
async fn the_language_follows_the_browser_until_the_person_chooses() {
    let site = Site::new().await;
    let visit = |languages: &'static str| {
        Request::get("/sign-in")
            .header("host", "localhost")
            .header("accept-language", languages)
            .body(Body::empty())
            .unwrap()
    };
    assert!(
        site.send(visit("ko-KR,en;q=0.5"))
            .await
            .text()
            .contains("<html lang=\"ko\">")
    );
    assert!(site.send(visit("en-GB")).await.text().contains("<html lang=\"en\">"));
    let session = site.sign_in("asker").await;
    let answer = site.submit(&session, "/language", "language=ko&back=/cameras").await;
    assert_eq!(answer.headers["location"], "/cameras");
    assert!(site.get(&session, "/cameras").await.text().contains("최근 1시간"));
}

#[tokio::test]
async fn a_request_goes_from_chips_to_a_decision_without_script() {
    let site = Site::new().await;
    let (asker, decider) = (site.sign_in("asker").await, site.sign_in("decider").await);
    // 14:00 in Seoul is half hour 28; it is 15:00 now.
    let told = format!(
        "camera={}&day=2026-11-22&slot=28&ground=reading%2Fown-image&form=view&purpose=wallet",
        site.camera
    );
    let checked = site.get(&asker, &format!("/requests/new?check=1&{told}")).await.text();
    assert!(
        checked.contains("partly missing") && checked.contains("2026-11-22 14:00 – 14:30"),
        "{checked}"
    );
    let filed = site.submit(&asker, "/requests", &told).await;
    let path = filed.headers["location"].to_str().unwrap().to_owned();
    assert!(site.get(&asker, &path).await.text().contains("Waiting for somebody"));
    let case = site.get(&decider, &path).await.text();
    assert!(case.contains("name=\"decision\" value=\"approve\""), "{case}");
    let refused = site
        .submit(&decider, &format!("{path}/decision"), "decision=refuse&note=no")
        .await;
    assert_eq!(refused.status, 422);
    assert!(
        refused.text().contains("A refusal needs a ground"),
        "{}",
        refused.text()
    );
    let decided = site
        .submit(&decider, &format!("{path}/decision"), "decision=approve&note=")
        .await;
    assert_eq!(decided.headers["location"].to_str().unwrap(), path);
    let case = site.get(&asker, &path).await.text();
    assert!(case.contains(&format!("{path}/view")), "{case}");
    let viewer = site.get(&asker, &format!("{path}/view")).await.text();
    assert!(
        viewer.contains("/assets/viewer.js") && viewer.contains("/grant"),
        "{viewer}"
    );
    assert!(site.get(&decider, &path).await.text().contains("who alone may watch"));
}

#[tokio::test]
async fn what_is_missing_is_said_beside_the_form_and_nothing_typed_is_lost() {
    let site = Site::new().await;
    let asker = site.sign_in("asker").await;
    for (form, message) in [
        (
            "day=2026-11-22&slot=28&purpose=my+wallet",
            "Choose at least one camera.",
        ),
        (
            "camera=CAMERA&day=2026-11-22&purpose=my+wallet",
            "Choose a day and at least one half hour",
        ),
        (
            "camera=CAMERA&day=2026-11-22&slot=40&purpose=my+wallet",
            "That time has not passed yet.",
        ),
        (
            "camera=CAMERA&day=2026-11-22&slot=28&purpose=my+wallet",
            "needs a ground from the list",
        ),
        (
            "camera=CAMERA&day=2026-11-22&slot=28&ground=reading/own-image&purpose=my+wallet+900101-1234568",
            "resident registration number",
        ),
    ] {
        let answer = site
            .submit(&asker, "/requests", &form.replace("CAMERA", &site.camera.to_string()))
            .await;
        let page = answer.text();
        assert_eq!(answer.status, 422, "{form}");
        assert!(page.contains(message), "{form} does not say {message:?}:\n{page}");
        assert!(page.contains("my wallet"), "{form}");
    }
}

#[tokio::test]
async fn refusals_are_pages_for_people_in_their_language() {
    let site = Site::new().await;
    let admin = site.sign_in("admin").await;
    assert_eq!(site.get(&admin, "/").await.headers["location"], "/cameras");
    let page = site.get(&admin, "/requests").await;
    assert_eq!(page.status, 403);
    assert!(page.headers["content-type"].to_str().unwrap().starts_with("text/html"));
    assert!(
        page.text().contains("Your grade does not include this."),
        "{}",
        page.text()
    );
    let cameras = site.get(&admin, "/cameras").await.text();
    assert!(
        cameras.contains("Gate") && !cameras.contains("<svg"),
        "no coverage for whoever administers"
    );
    assert_eq!(site.get(&admin, "/nowhere").await.status, 404);
}

#[tokio::test]
async fn no_page_has_script_or_style_in_it_or_names_another_site() {
    let site = Site::new().await;
    let granted = site.granted(0, 30, "copy").await;
    let paths = [
        "/cameras".into(),
        "/requests".into(),
        "/requests/new".into(),
        format!("/requests/{}", granted.request),
        format!("/requests/{}/view", granted.request),
    ];
    for path in paths {
        let page = site.get(&granted.asker, &path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text());
        assert_eq!(page.headers["cache-control"], "no-store");
        let text = page.text();
        for forbidden in [
            "<style",
            " style=",
            " onclick",
            " onload",
            "javascript:",
            "http://",
            "https://",
            "src=\"//",
        ] {
            assert!(!text.contains(forbidden), "{path} holds {forbidden}");
        }
        for script in text.split("<script").skip(1) {
            assert!(
                script
                    .trim_start_matches(" type=\"module\"")
                    .starts_with(" src=\"/assets/"),
                "{path}: {script}"
            );
        }
    }
}
