# syntax=docker/dockerfile:1
# A release gives the digest too; make image asks for it.
ARG GO_IMAGE=golang:1.26
FROM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
ARG GO_IMAGE
RUN CGO_ENABLED=0 go build -trimpath \
      -ldflags "-s -w -X github.com/longwire/longwire/internal/version.version=${VERSION}" \
      -o /out/longwire ./cmd/longwire && \
    go run ./internal/sbomgen -version "${VERSION}" -image "${GO_IMAGE}" -out /out/longwire.cdx.json /out/longwire && \
    mkdir -p /out/volume && mkdir -m 0700 /out/volume/data

FROM scratch
COPY --from=build /out/longwire /longwire
# The list of its parts, where scanners of images find it.
COPY --from=build /out/longwire.cdx.json /longwire.cdx.json
# For an authentication hook over https.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# 65532 is nobody in particular; the data folder is its own. COPY keeps the modes
# of what is in the folder that it names, not of that folder itself.
COPY --from=build --chown=65532:65532 /out/volume/ /
USER 65532:65532
ENV LONGWIRE_DATA_DIR=/data \
    LONGWIRE_TCP_ADDR=0.0.0.0:6666 \
    LONGWIRE_HTTP_ADDR=0.0.0.0:8080
VOLUME /data
EXPOSE 6666 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/longwire", "health"]
ENTRYPOINT ["/longwire"]
CMD ["serve"]
