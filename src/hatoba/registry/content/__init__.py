"""What is pushed and pulled: manifests, tags, blobs of repositories, uploads, referrers."""
