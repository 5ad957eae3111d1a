# The node on top of what it needs; built again whenever a file of the node changes.
ARG DEPS=squall-deps:latest
FROM ${DEPS}
LABEL squall=1
COPY node/ /opt/squall/squall/node/
RUN python3 -m compileall -q /opt/squall/squall/node
