//! A plain HTTP client for the pages and the API: one connection per request, a cookie jar, nothing hidden.

use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// A person's browser, as far as HTTP goes.
pub struct Client {
    authority: String,
    cookies: Mutex<Vec<(String, String)>>,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub status: StatusCode,
    /// Headers.
    pub headers: http::HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Client {
    /// `base` is `http://host:port`.
    pub fn new(base: &str) -> Result<Self> {
        let authority = base
            .strip_prefix("http://")
            .context("the tests speak plain HTTP on the loopback interface")?;
        Ok(Self {
            authority: authority.trim_end_matches('/').to_owned(),
            cookies: Mutex::default(),
        })
    }

    /// The cookies held, as name and value.
    pub fn cookies(&self) -> Vec<(String, String)> {
        self.cookies.lock().expect("no test panics in here").clone()
    }

    /// GET, any answer.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, None).await
    }

    /// POST of JSON, any answer.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(Method::POST, path, Some(body)).await
    }

    /// GET of JSON that must succeed.
    pub async fn get_json(&self, path: &str) -> Result<Value> {
        self.get(path).await?.json(path)
    }

    /// POST of JSON that must succeed.
    pub async fn post_json(&self, path: &str, body: &Value) -> Result<Value> {
        self.post(path, body).await?.json(path)
    }

    /// GET of something large that must succeed: its length, the bytes thrown away.
    pub async fn drain(&self, path: &str) -> Result<u64> {
        let answer = self.open(Method::GET, path, None).await?;
        ensure!(answer.status().is_success(), "{path}: {}", answer.status());
        let (mut body, mut length) = (answer.into_body(), 0);
        while let Some(frame) = body.frame().await {
            length += frame?.data_ref().map_or(0, |data| data.len() as u64);
        }
        Ok(length)
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let exchange = self.exchange(method, path, body);
        match tokio::time::timeout(Duration::from_secs(600), exchange).await {
            Ok(answer) => answer,
            Err(_) => bail!("{path}: no answer within ten minutes"),
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let mut answer = self.open(method, path, body).await?;
        let (status, headers) = (answer.status(), std::mem::take(answer.headers_mut()));
        let body = answer
            .into_body()
            .collect()
            .await
            .with_context(|| format!("{path}: the body broke off"))?
            .to_bytes();
        Ok(Answer { status, headers, body })
    }

    /// Sends a request and returns the answer with its body still to come.
    pub async fn open(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<http::Response<hyper::body::Incoming>> {
        let stream = TcpStream::connect(&self.authority)
            .await
            .with_context(|| format!("{} does not answer", self.authority))?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(&method)
            .uri(path)
            .header("host", &self.authority);
        // What a browser says of its own pages' requests; a server that defends against forged ones looks at it.
        request = request
            .header("origin", format!("http://{}", self.authority))
            .header("sec-fetch-site", "same-origin");
        let cookies: Vec<String> = self.cookies().iter().map(|(n, v)| format!("{n}={v}")).collect();
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        let bytes = match body {
            Some(json) => {
                request = request.header("content-type", "application/json");
                Bytes::from(json.to_string())
            }
            None => Bytes::new(),
        };
        let answer = sender
            .send_request(request.body(Full::new(bytes))?)
            .await
            .with_context(|| format!("{method} {path}"))?;
        self.keep_cookies(answer.headers());
        Ok(answer)
    }

    fn keep_cookies(&self, headers: &http::HeaderMap) {
        let mut jar = self.cookies.lock().expect("no test panics in here");
        for cookie in headers.get_all("set-cookie").iter().filter_map(|v| v.to_str().ok()) {
            let pair = cookie.split(';').next().unwrap_or_default();
            if let Some((name, value)) = pair.split_once('=') {
                jar.retain(|(n, _)| n != name);
                if !value.is_empty() {
                    jar.push((name.to_owned(), value.to_owned()));
                }
            }
        }
    }
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON, if the request succeeded.
    pub fn json(&self, path: &str) -> Result<Value> {
        ensure!(self.status.is_success(), "{path}: {}\n{}", self.status, self.text());
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body).with_context(|| format!("{path}: not JSON: {}", self.text()))
    }
}
