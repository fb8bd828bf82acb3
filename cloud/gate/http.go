package gate

import (
	"context"
	"net"
	"net/http"
)

// connKey is under which a request's context holds its connection.
type connKey struct{}

// Attach makes server tell the gate about its connections: they are known and work during a request whose
// holder is known, and are idle in between. It is called before the server serves; server
// keeps its own ConnContext and ConnState, if any.
func (l *Listener) Attach(server *http.Server, holder func(*http.Request) (name string, known bool)) {
	inner, connContext, connState := server.Handler, server.ConnContext, server.ConnState
	server.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		if connContext != nil {
			ctx = connContext(ctx, conn)
		}
		return context.WithValue(ctx, connKey{}, below(conn))
	}
	server.ConnState = func(conn net.Conn, s http.ConnState) {
		if connState != nil {
			connState(conn, s)
		}
		if c := below(conn); c != nil && s == http.StateIdle {
			c.Idle()
		}
	}
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, _ := r.Context().Value(connKey{}).(*Conn); c != nil {
			if name, ok := holder(r); ok {
				c.Known(name)
			}
		}
		inner.ServeHTTP(w, r)
	})
}

// below gives the connection under TLS; nil when it came by no gate.
func below(conn net.Conn) *Conn {
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = t.NetConn()
	}
	c, _ := conn.(*Conn)
	return c
}
