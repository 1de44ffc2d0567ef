# The binary is static, so the image that runs holds nothing else: no shell, no package manager, no libc.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /out/mrcproxy ./cmd/mrcproxy
# A scratch image has no mkdir: what must exist, and belong to the user, is made here.
RUN mkdir -p /out/data /out/etc

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/mrcproxy /mrcproxy
COPY --from=build --chown=65532:65532 /out/etc /etc/mrcproxy
# data_dir: what must outlive the container, such as the secret that signs Record-Route.
COPY --from=build --chown=65532:65532 /out/data /var/lib/mrcproxy
VOLUME /var/lib/mrcproxy

# Numeric: Kubernetes' runAsNonRoot cannot check a name. The ports are all above 1023, so no capability is needed.
USER 65532:65532
EXPOSE 5060/udp 5060/tcp 9060/tcp

# No HEALTHCHECK: there is no shell to run one. Ask GET /-/healthy and /-/ready on port 9060.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/mrcproxy"]
CMD ["serve", "-c", "/etc/mrcproxy/mrcproxy.yaml"]
