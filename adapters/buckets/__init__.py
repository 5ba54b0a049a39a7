"""Where objects lie: S3-compatible stores. ``urls`` reads how a setting names a bucket, ``sigv4``
signs the URLs to what is in it."""
