//! Motion customization of video.
