pub(super) fn read(path: &std::path::Path, _b: Vec<u8>) -> Result<super::Paper, crate::Error> {
    let _ = path;
    todo!()
}
