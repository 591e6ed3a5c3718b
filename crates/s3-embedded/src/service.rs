//! The [`S3`] trait of s3s over a [`Backend`]: each operation calls its function.

use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, Bucket, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput, CreateBucketInput,
    CreateBucketOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput, DeleteObjectInput,
    DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, GetObjectInput, GetObjectOutput,
    GetObjectTaggingInput, GetObjectTaggingOutput, HeadBucketInput, HeadBucketOutput,
    HeadObjectInput, HeadObjectOutput, ListBucketsInput, ListBucketsOutput,
    ListMultipartUploadsInput, ListMultipartUploadsOutput, ListObjectsV2Input, ListObjectsV2Output,
    ListPartsInput, ListPartsOutput, PutObjectInput, PutObjectOutput, PutObjectTaggingInput,
    PutObjectTaggingOutput, Tag, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput,
    UploadPartOutput,
};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};

use super::backend::Backend;
use super::s3_types::{internal, timestamp};

type ServiceAnswer<T> = S3Result<S3Response<T>>;

#[async_trait::async_trait]
impl S3 for Backend {
    async fn list_buckets(
        &self,
        _request: S3Request<ListBucketsInput>,
    ) -> ServiceAnswer<ListBucketsOutput> {
        let state = self.state();
        let buckets = state.buckets.iter().map(|(name, bucket)| Bucket {
            name: Some(name.clone()),
            creation_date: timestamp(bucket.created),
            ..Bucket::default()
        });
        Ok(S3Response::new(ListBucketsOutput {
            buckets: Some(buckets.collect()),
            ..ListBucketsOutput::default()
        }))
    }

    async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> ServiceAnswer<CreateBucketOutput> {
        let name = request.input.bucket;
        if self.check_bucket(&name).is_ok() {
            return Err(s3_error!(BucketAlreadyOwnedByYou));
        }
        Backend::create_bucket(self, &name).map_err(internal)?;
        Ok(S3Response::new(CreateBucketOutput {
            location: Some(format!("/{name}")),
        }))
    }

    async fn head_bucket(
        &self,
        mut request: S3Request<HeadBucketInput>,
    ) -> ServiceAnswer<HeadBucketOutput> {
        self.resolve(&mut request.input.bucket);
        self.check_bucket(&request.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn put_object(
        &self,
        mut request: S3Request<PutObjectInput>,
    ) -> ServiceAnswer<PutObjectOutput> {
        self.resolve(&mut request.input.bucket);
        Backend::put_object(self, request).await
    }

    async fn get_object(
        &self,
        mut request: S3Request<GetObjectInput>,
    ) -> ServiceAnswer<GetObjectOutput> {
        self.resolve(&mut request.input.bucket);
        Backend::get_object(self, request.input)
    }

    async fn head_object(
        &self,
        mut request: S3Request<HeadObjectInput>,
    ) -> ServiceAnswer<HeadObjectOutput> {
        self.resolve(&mut request.input.bucket);
        Backend::head_object(self, request.input)
    }

    async fn delete_object(
        &self,
        mut request: S3Request<DeleteObjectInput>,
    ) -> ServiceAnswer<DeleteObjectOutput> {
        self.resolve(&mut request.input.bucket);
        let input = request.input;
        Backend::delete_object(self, &input.bucket, &input.key, input.if_match.as_ref())?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        mut request: S3Request<DeleteObjectsInput>,
    ) -> ServiceAnswer<DeleteObjectsOutput> {
        self.resolve(&mut request.input.bucket);
        Backend::delete_objects(self, request.input)
    }

    async fn copy_object(
        &self,
        mut request: S3Request<CopyObjectInput>,
    ) -> ServiceAnswer<CopyObjectOutput> {
        self.resolve(&mut request.input.bucket);
        Backend::copy_object(self, request).await
    }

    async fn list_objects_v2(
        &self,
        mut request: S3Request<ListObjectsV2Input>,
    ) -> ServiceAnswer<ListObjectsV2Output> {
        self.resolve(&mut request.input.bucket);
        self.list_objects(request.input)
    }

    async fn create_multipart_upload(
        &self,
        mut request: S3Request<CreateMultipartUploadInput>,
    ) -> ServiceAnswer<CreateMultipartUploadOutput> {
        self.resolve(&mut request.input.bucket);
        self.create_upload(request.input).await
    }

    async fn upload_part(
        &self,
        mut request: S3Request<UploadPartInput>,
    ) -> ServiceAnswer<UploadPartOutput> {
        self.resolve(&mut request.input.bucket);
        Backend::upload_part(self, request).await
    }

    async fn upload_part_copy(
        &self,
        mut request: S3Request<UploadPartCopyInput>,
    ) -> ServiceAnswer<UploadPartCopyOutput> {
        self.resolve(&mut request.input.bucket);
        Backend::upload_part_copy(self, request.input).await
    }

    async fn complete_multipart_upload(
        &self,
        mut request: S3Request<CompleteMultipartUploadInput>,
    ) -> ServiceAnswer<CompleteMultipartUploadOutput> {
        self.resolve(&mut request.input.bucket);
        self.complete_upload(request.input).await
    }

    async fn abort_multipart_upload(
        &self,
        mut request: S3Request<AbortMultipartUploadInput>,
    ) -> ServiceAnswer<AbortMultipartUploadOutput> {
        self.resolve(&mut request.input.bucket);
        let input = request.input;
        self.abort_upload(&input.upload_id, &input.bucket, &input.key)?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    async fn list_parts(
        &self,
        mut request: S3Request<ListPartsInput>,
    ) -> ServiceAnswer<ListPartsOutput> {
        self.resolve(&mut request.input.bucket);
        Backend::list_parts(self, request.input)
    }

    async fn list_multipart_uploads(
        &self,
        mut request: S3Request<ListMultipartUploadsInput>,
    ) -> ServiceAnswer<ListMultipartUploadsOutput> {
        self.resolve(&mut request.input.bucket);
        self.list_uploads(request.input)
    }

    async fn get_object_tagging(
        &self,
        mut request: S3Request<GetObjectTaggingInput>,
    ) -> ServiceAnswer<GetObjectTaggingOutput> {
        self.resolve(&mut request.input.bucket);
        let object = self.find(&request.input.bucket, &request.input.key)?;
        let tags = object.data.tags.iter().map(|(key, value)| Tag {
            key: Some(key.clone()),
            value: Some(value.clone()),
        });
        Ok(S3Response::new(GetObjectTaggingOutput {
            tag_set: tags.collect(),
            ..GetObjectTaggingOutput::default()
        }))
    }

    async fn put_object_tagging(
        &self,
        mut request: S3Request<PutObjectTaggingInput>,
    ) -> ServiceAnswer<PutObjectTaggingOutput> {
        self.resolve(&mut request.input.bucket);
        let input = request.input;
        self.put_tags(&input.bucket, &input.key, input.tagging.tag_set)
            .await?;
        Ok(S3Response::new(PutObjectTaggingOutput::default()))
    }
}
