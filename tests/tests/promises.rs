//! The promises in their short form; `make promises` runs them in full.

use anyhow::{Context, Result};
use custody_tests::promise::{self, Scale};

macro_rules! short {
    ($($test:ident => $name:literal,)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $test() -> Result<()> {
            let promise = promise::named($name).context("the promise has another name now")?;
            println!("{}", (promise.check)(Scale::SHORT).await?);
            Ok(())
        })*

        #[test]
        fn every_promise_has_its_short_form() {
            let short = [$($name),*];
            let missing: Vec<&str> = promise::ALL.iter().map(|p| p.name).filter(|n| !short.contains(n)).collect();
            assert!(missing.is_empty(), "{missing:?}");
        }
    };
}

short! {
    fresh_clone => "fresh-clone",
    record_tamper => "record-tamper",
    ledger_unwritable => "ledger-unwritable",
    disk_image_opens_nothing => "disk-image-opens-nothing",
    demo_first_picture => "demo-first-picture",
    no_plaintext => "no-plaintext",
    server_away => "server-away-10min",
    real_rtsp_h264 => "real-rtsp-h264",
    real_rtsp_h265 => "real-rtsp-h265",
    kill_agent => "kill-agent-30",
    kill_server => "kill-server-30",
}
