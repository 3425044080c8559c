# The worker's image: one static binary on distroless, as a user without rights, without a shell.
#   docker build -t replyworker .
#
# With OpenSSL for the signatures (docs/adr/0014-signing.md) it is a dynamic binary, on the base that has glibc and
# libcrypto, of the same Debian as the one that it is built on:
#   docker build -t replyworker --build-arg TAGS=openssl --build-arg BASE=gcr.io/distroless/base-debian12:nonroot .
#
# docker-compose.yml builds it on the base's debug variant, which has busybox: the worker there takes
# its settings from a file that the simulator writes, and health is asked with wget.
ARG BASE=gcr.io/distroless/static-debian12:nonroot

FROM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
ARG TAGS=
RUN [ "$TAGS" != openssl ] || { apt-get update && apt-get install -y --no-install-recommends libssl-dev pkg-config; }
COPY cmd cmd
COPY internal internal
# netgo and osusergo: names are looked up by Go, as in the static binary.
RUN cgo=0; [ "$TAGS" != openssl ] || cgo=1; \
    CGO_ENABLED=$cgo go build -tags "$TAGS,netgo,osusergo" -trimpath -buildvcs=false -ldflags=-s -o /out/worker ./cmd/worker \
 && mkdir /out/keys

FROM ${BASE}
COPY --from=build /out/worker /usr/local/bin/worker
# Where the simulator keeps its keys; a new volume takes the owner from here.
COPY --from=build --chown=65532:65532 /out/keys /keys
USER 65532:65532
EXPOSE 9464
# SIGTERM, Docker's own signal, drains. Give it longer than drain-timeout: docker stop -t 35.
ENTRYPOINT ["/usr/local/bin/worker"]
CMD ["run"]
