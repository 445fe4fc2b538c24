package rewrite

// Encode puts a content coding on.
func Encode(coding string, plain []byte) ([]byte, error) {
	if coding == "identity" {
		return plain, nil
	}
	return encode(coding, plain)
}
