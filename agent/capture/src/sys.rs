//! What neither FFmpeg's bindings nor the standard library has a safe way to do: a few fields, pictures in a graphics
//! processor's memory, one question to a video device.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};

use ffmpeg_next as ffmpeg;
use ffmpeg_next::ffi;
use ffmpeg_next::util::frame::video::Video;

/// Codec configuration and picture size of a stream.
pub(crate) struct StreamFacts {
    pub(crate) extradata: Vec<u8>,
    pub(crate) width: u16,
    pub(crate) height: u16,
}

/// Reads them; sizes beyond 65 535 become zero, which is refused later.
pub(crate) fn stream_facts(parameters: &ffmpeg::codec::Parameters) -> StreamFacts {
    // SAFETY: the pointer is valid as long as `parameters`, and nothing else writes to it while it is borrowed;
    // `extradata` points to `extradata_size` bytes or is null.
    unsafe {
        let raw = &*parameters.as_ptr();
        facts(raw.extradata, raw.extradata_size, raw.width, raw.height)
    }
}

/// The same of an opened encoder.
pub(crate) fn encoder_facts(encoder: &ffmpeg::encoder::video::Encoder) -> StreamFacts {
    // SAFETY: as above; the encoder owns its context.
    unsafe {
        let raw = &*encoder.as_ptr();
        facts(raw.extradata, raw.extradata_size, raw.width, raw.height)
    }
}

/// # Safety
/// `data` must point to `size` readable bytes or be null.
unsafe fn facts(data: *const u8, size: i32, width: i32, height: i32) -> StreamFacts {
    let extradata = match usize::try_from(size) {
        // SAFETY: the caller's promise.
        Ok(size) if size > 0 && !data.is_null() => unsafe { std::slice::from_raw_parts(data, size) }.to_vec(),
        _ => Vec::new(),
    };
    StreamFacts {
        extradata,
        width: u16::try_from(width).unwrap_or(0),
        height: u16::try_from(height).unwrap_or(0),
    }
}

/// Pictures in a graphics processor's memory that `h264_vaapi` encodes from.
pub(crate) struct Surfaces(NonNull<ffi::AVBufferRef>);

impl Surfaces {
    /// Opens the device and reserves NV12 pictures of this size.
    pub(crate) fn open(node: &CStr, width: u16, height: u16) -> Result<Self, ffmpeg::Error> {
        let kind = ffi::AVHWDeviceType::AV_HWDEVICE_TYPE_VAAPI;
        let mut device = ptr::null_mut();
        // SAFETY: `device` is a place for one pointer, `node` ends with a zero byte and is only read during the call, and the
        // options may be null.
        let status = unsafe { ffi::av_hwdevice_ctx_create(&mut device, kind, node.as_ptr(), ptr::null_mut(), 0) };
        if status < 0 {
            return Err(status.into());
        }
        // SAFETY: `device` is the reference made above. The pool takes one of its own, so ours is given back at once.
        let frames = unsafe {
            let frames = ffi::av_hwframe_ctx_alloc(device);
            ffi::av_buffer_unref(&mut device);
            frames
        };
        let frames = NonNull::new(frames).ok_or(ffmpeg::Error::Other {
            errno: ffmpeg::error::ENOMEM,
        })?;
        let surfaces = Self(frames);
        // SAFETY: what such a reference points to is an `AVHWFramesContext`, and nobody else knows it before it is initialised.
        let status = unsafe {
            let context = (*frames.as_ptr()).data.cast::<ffi::AVHWFramesContext>();
            (*context).format = ffi::AVPixelFormat::AV_PIX_FMT_VAAPI;
            (*context).sw_format = ffi::AVPixelFormat::AV_PIX_FMT_NV12;
            (*context).width = width.into();
            (*context).height = height.into();
            (*context).initial_pool_size = 8;
            ffi::av_hwframe_ctx_init(frames.as_ptr())
        };
        if status < 0 { Err(status.into()) } else { Ok(surfaces) }
    }

    /// Makes an encoder that is not yet open take its pictures from here.
    pub(crate) fn feed(&self, encoder: &mut ffmpeg::encoder::video::Video) {
        // SAFETY: the context is alive and not open while it is borrowed; it frees its own reference when it is freed.
        unsafe {
            let raw = encoder.as_mut_ptr();
            (*raw).hw_frames_ctx = ffi::av_buffer_ref(self.0.as_ptr());
            (*raw).pix_fmt = ffi::AVPixelFormat::AV_PIX_FMT_VAAPI;
        }
    }

    /// A copy of an NV12 picture in the device's memory.
    pub(crate) fn upload(&self, picture: &Video) -> Result<Video, ffmpeg::Error> {
        let mut surface = Video::empty();
        // SAFETY: both frames are alive; the surface is empty, so that it can take a buffer, which it frees when dropped; the
        // copy checks formats and sizes itself.
        let status = unsafe {
            match ffi::av_hwframe_get_buffer(self.0.as_ptr(), surface.as_mut_ptr(), 0) {
                0 => ffi::av_hwframe_transfer_data(surface.as_mut_ptr(), picture.as_ptr(), 0),
                error => error,
            }
        };
        if status < 0 { Err(status.into()) } else { Ok(surface) }
    }
}

impl Drop for Surfaces {
    fn drop(&mut self) {
        let mut frames = self.0.as_ptr();
        // SAFETY: this reference is ours and is given back once; frames and encoders hold their own.
        unsafe { ffi::av_buffer_unref(&mut frames) }
    }
}

/// `struct v4l2_capability` of `linux/videodev2.h`.
#[repr(C)]
struct VideoCapability {
    names: [u8; 80],
    version: u32,
    capabilities: u32,
    device_capabilities: u32,
    reserved: [u32; 3],
}

/// Whether a video device turns pictures into other pictures, as codecs do.
pub(crate) fn is_memory_to_memory(device: &File) -> bool {
    /// `VIDIOC_QUERYCAP`: read a `v4l2_capability` of 104 bytes.
    const QUERY_CAPABILITY: u32 = 0x8068_5600;
    const DEVICE_CAPABILITIES: u32 = 0x8000_0000;
    const MEMORY_TO_MEMORY: u32 = 0x8000 | 0x4000;
    let mut capability = VideoCapability {
        names: [0; 80],
        version: 0,
        capabilities: 0,
        device_capabilities: 0,
        reserved: [0; 3],
    };
    // SAFETY: the descriptor is open; the request writes at most the 104 bytes of the structure, all of whose bit patterns are
    // valid; anything but a video device answers with an error and writes nothing.
    let status = unsafe { libc::ioctl(device.as_raw_fd(), QUERY_CAPABILITY as _, &mut capability) };
    let found = if capability.capabilities & DEVICE_CAPABILITIES == 0 {
        capability.capabilities
    } else {
        capability.device_capabilities
    };
    status == 0 && found & MEMORY_TO_MEMORY != 0
}
