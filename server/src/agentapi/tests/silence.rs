//! Agents that answer nothing, or too much.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_agent_an_unknown_segment_and_too_much_at_once_are_said() {
    let field = field(100_000, Duration::from_millis(300)).await;
    let mut agent = field.agent("entry").await;
    let camera = agent.camera;
    let footage = RecordedFootage::new(field.fleet.clone());
    for _ in 0..2 {
        agent.record(60_000);
    }
    agent.send_until_acked(0).await;
    let error = field.fleet.fetch(camera, &[7]).await.unwrap_err();
    assert!(matches!(error, FetchError::Unknown { seq: 7, .. }));
    assert!(error.to_string().contains("choose a time"), "{error}");
    assert!(matches!(
        field.fleet.fetch(camera, &[0, 1]).await,
        Err(FetchError::TooMuch { .. })
    ));
    let error = field.fleet.fetch(camera, &[0]).await.unwrap_err();
    assert!(
        matches!(
            error,
            FetchError::TimedOut {
                seq: 0,
                online: true,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("the agent is connected"), "{error}");

    assert_eq!(footage.state(camera), CameraState::Recording);
    assert_eq!(footage.state(CameraId::random()), CameraState::Never);
    let health = |recording, at| Health {
        camera,
        at,
        recording,
        last_frame_age_s: 1,
        disk_free_days: 40,
        clock: ClockSource::Ntp,
        keys_days: 45,
        faults: Faults::default(),
    };
    let sealed = health(false, SystemClock.now())
        .seal(&agent.key, &agent.server.0)
        .unwrap();
    agent.publish(Topic::Health, sealed).await;
    // Forged and old words change nothing.
    let forged = health(true, SystemClock.now())
        .seal(&SigningKey::generate().unwrap(), &agent.server.0)
        .unwrap();
    agent.publish(Topic::Health, forged).await;
    let old = health(true, UtcMicros::new(T0))
        .seal(&agent.key, &agent.server.0)
        .unwrap();
    agent.publish(Topic::Health, old).await;
    let stale = Status {
        camera,
        online: false,
        boot: agent.boot,
        since: UtcMicros::new(T0),
    };
    agent.publish(Topic::Status, stale.sign(&agent.key)).await;
    let forged = Status {
        camera,
        online: false,
        boot: BootId::random(),
        since: SystemClock.now(),
    };
    agent
        .publish(Topic::Status, forged.sign(&SigningKey::generate().unwrap()))
        .await;
    let next = agent.said.len() as u64;
    agent.send(next, &[]).await;
    agent.receipt().await;
    for _ in 0..100 {
        if footage.state(camera) == CameraState::Late {
            break;
        }
        agent.pump(Duration::from_millis(50)).await;
    }
    assert_eq!(footage.state(camera), CameraState::Late);
    // What retrieval sees.
    let range = TimeRange::new(UtcMicros::new(T0), UtcMicros::new(T0 + 20 * SECOND_US)).unwrap();
    let segments = footage.segments(camera, range, 10).unwrap();
    assert_eq!(
        segments.iter().map(|one| (one.seq, one.playable())).collect::<Vec<_>>(),
        [(0, true), (1, true)]
    );
    assert_eq!(footage.segment(camera, 1).unwrap().as_ref(), segments.get(1));
    assert_eq!(footage.coverage(camera, range, 10).unwrap().len(), 1);
    let said: Vec<_> = agent.said.iter().map(|signed| signed.as_bytes().to_vec()).collect();
    assert_eq!(footage.statements(camera, range).unwrap(), said);
    field.end().await;
}
